"""The data check, over scenes with faults."""

import json
import runpy
import shutil
import sys

import pytest
from support.paths import ROOT, config_path
from support.process_state import process_state_restored

from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer

pytestmark = pytest.mark.slow

RECIPE = config_path("lira_tiny")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("check")
    files = write_scenes(root / "data", 6, 2, progress=False)
    write_scene_tokenizer(files)
    return files


@pytest.fixture
def copied(scenes, tmp_path):
    """Scenes to spoil."""
    shutil.copytree(scenes.root, tmp_path / "data")
    return type(scenes)(tmp_path / "data")


def check(monkeypatch, files, *arguments):
    monkeypatch.setenv("LIRA_TINY_ROOT", str(files.root.parent))
    monkeypatch.setattr(sys, "argv", ["check_data.py", str(RECIPE), *map(str, arguments)])
    with process_state_restored(), pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "tools" / "check_data.py"), run_name="__main__")
    return end.value.code


def test_good_data_passes(monkeypatch, capsys, scenes, tmp_path):
    assert check(monkeypatch, scenes, "--json", tmp_path / "new" / "check.json", "--workers", 2) == 0
    found = json.loads((tmp_path / "new" / "check.json").read_text())
    assert [part["records"] for part in found] == [6, 6, 6 + 2], "RefSeg, GCG, and questions with two without an image"
    assert all(part["samples"] == part["records"] and not part["errors"] and not part["dropped"] for part in found)
    assert found[0]["views"] and found[1]["views"] and not found[2]["views"]
    assert "refcoco/train: 6 samples of 6 records, 0 unusable" in capsys.readouterr().out


def test_faults_are_found_before_the_training(monkeypatch, capsys, copied, tmp_path):
    first = next(iter(sorted(copied.images.glob("*.jpg"))))
    first.write_bytes(first.read_bytes()[:200])
    path = copied.root / "llava" / "scenes_train.json"
    records = json.loads(path.read_text())
    records[3]["conversations"][1]["value"] = "It is <seg>."
    path.write_text(json.dumps(records))
    assert check(monkeypatch, copied, "--json", tmp_path / "check.json") == 1
    refer, gcg, llava = json.loads((tmp_path / "check.json").read_text())
    for part, count in ((refer, 1), (gcg, 1), (llava, 2)):
        assert len(part["errors"]) == count
        assert str(first) in part["errors"][0] and "cannot be read as an image" in part["errors"][0]
    assert f"llava record {records[3]['id']} " in llava["errors"][1] and "'<seg>'" in llava["errors"][1]
    out = capsys.readouterr().out
    assert all(message in out for part in (refer, gcg, llava) for message in part["errors"])


def test_regions_that_do_not_fit_are_told(monkeypatch, capsys, scenes):
    option = "train_dataloader.dataset.pipeline.tokenize.max_length=60"
    assert check(monkeypatch, scenes, "--cfg-options", option) == 0
    assert "max_length leaves out" in capsys.readouterr().out


def test_the_data_of_a_test(monkeypatch, capsys, scenes):
    assert check(monkeypatch, scenes, "--loader", "test_dataloader") == 0
    out = capsys.readouterr().out
    assert all(f"refcoco/{split}: " in out for split in ("val", "testA", "testB"))


def test_a_recipe_without_that_loader(monkeypatch, scenes):
    assert "has no val_dataloader" in check(monkeypatch, scenes, "--loader", "val_dataloader")
