"""The doctor over planted faults: it names all of them and nothing else, and what it leaves of the data trains."""

import hashlib
import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from support.paths import ROOT, config_path
from support.planted_faults import Planter, further_parts, write_further_formats
from support.process_state import process_state_restored
from support.tiny_recipes import unformatted_configs

from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer

pytestmark = pytest.mark.slow


def tool(monkeypatch, recipe, *arguments):
    monkeypatch.setattr(sys, "argv", ["check_data.py", str(recipe), *map(str, arguments)])
    with process_state_restored(), pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "tools" / "check_data.py"), run_name="__main__")
    return end.value.code


def digests(root: Path) -> dict[Path, str]:
    return {path: hashlib.md5(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """The tiny recipe over seven formats, written out."""
    monkeypatch.setenv("LIRA_TINY_ROOT", str(tmp_path))
    write_scene_tokenizer(write_scenes(tmp_path / "data", 20, 2, progress=False))
    write_further_formats(tmp_path / "data")
    with process_state_restored(), unformatted_configs():
        config = Config.fromfile(config_path("lira_tiny"))
        config.train_dataloader.dataset.datasets += further_parts(tmp_path / "data")
        config.merge_from_dict(
            {
                "work_dir": str(tmp_path / "run"),
                "experiment_name": "doctor",
                "model.init_from": [],
                "train_cfg.max_iters": 2,
                "train_dataloader.batch_size": 32,
                "custom_hooks": [hook for hook in config.custom_hooks if "Visualization" not in str(hook["type"])],
            }
        )
        config.dump(tmp_path / "recipe.py")
    return tmp_path / "recipe.py"


def test_all_planted_faults_and_nothing_else_and_a_clean_copy_that_trains(tmp_path, recipe, monkeypatch, capsys):
    planted = Planter(tmp_path / "data").all()
    assert len(planted) >= 40 and len({kind for _, _, kind in planted}) >= 20 and len(set(planted)) == len(planted)
    before = digests(tmp_path / "data")
    clean = tmp_path / "clean"
    code = tool(monkeypatch, recipe, "--json", tmp_path / "found.json", "--fix", clean)

    found = json.loads((tmp_path / "found.json").read_text())
    named = {(finding["source"], finding["record"], finding["kind"]) for finding in found["findings"]}
    assert sorted(named - set(planted)) == [] and sorted(set(planted) - named) == []
    assert found["counts"] == Counter(finding["kind"] for finding in found["findings"])

    assert code == 0, capsys.readouterr().out
    assert digests(tmp_path / "data") == before
    left_out = [json.loads(line) for line in (clean / "left_out.jsonl").read_text().splitlines()]
    assert {(entry["record"], entry["kind"]) for entry in left_out} >= {(record, kind) for _, record, kind in planted}
    settings = json.loads((clean / "settings.json").read_text())
    options = [f"{key}={value}" for key, value in settings.items()]
    assert tool(monkeypatch, recipe, "--json", tmp_path / "after.json", "--cfg-options", *options) == 0
    assert json.loads((tmp_path / "after.json").read_text())["findings"] == []

    with process_state_restored(), unformatted_configs():
        config = Config.fromfile(recipe)
        config.merge_from_dict(settings)
        runner = Runner.from_cfg(config)
        runner.train()
        assert runner.iter == 2
