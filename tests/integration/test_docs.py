"""What the guides say about recipes, files and numbers is so."""

import re
import shlex

import numpy as np
import pytest
import yaml
from mmengine.config import Config
from support.paths import CONFIGS, ROOT, config_path
from support.process_state import process_state_restored

from lira_plugin.describe import measure_recipe
from lira_plugin.structures import decode_union

GUIDES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
    CONFIGS / "lira" / "README.md",
    ROOT / "projects" / "README.md",
    ROOT / "CONTRIBUTING.md",
]
by_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda path: f"{path.parent.name}/{path.stem}")


@by_guide
def test_links_and_files_of_commands_exist(guide):
    text = guide.read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (guide.parent / target).exists(), target
    for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
        for word in shlex.split(block, comments=True):
            if word.startswith(("configs/", "tools/", "benchmarks/")) and not word.endswith(".json"):
                assert (ROOT / word).is_file(), word


def test_every_variable_of_the_recipes_is_documented():
    variables = set(re.findall(r"LIRA_\w+", (CONFIGS / "lira" / "_base_" / "paths.py").read_text()))
    assert variables and variables <= set(re.findall(r"LIRA_\w+", (ROOT / "docs" / "weights.md").read_text()))


def test_every_recipe_is_in_the_table():
    text = (CONFIGS / "lira" / "README.md").read_text()
    assert all(f"`{path.name}`" in text for path in CONFIGS.glob("lira/*.py"))
    suites = [path.name for path in CONFIGS.glob("lira/eval/*.py")]
    assert suites and all(f"`eval/{name}`" in text for name in suites)
    assert all(f"`{name}`" in (ROOT / "docs" / "evaluation.md").read_text() for name in suites)


@pytest.mark.parametrize(
    "name",
    [
        "lira_2b_pretrain",
        "lira_2b",
        "lira_2b_own_decoder",
        "lira_8b_pretrain",
        "lira_8b",
        "lira_qwen2_1_5b_pretrain",
        "lira_qwen2_1_5b",
    ],
)
def test_the_sizes_in_the_table_and_in_the_metafile(name, monkeypatch, tmp_path):
    monkeypatch.setenv("LIRA_WEIGHTS", str(tmp_path))
    size = measure_recipe(Config.fromfile(config_path(name)).model)
    row = next(
        line for line in (CONFIGS / "lira" / "README.md").read_text().splitlines() if line.startswith(f"| `{name}` |")
    )
    assert f"| {size.total:,} | {size.trainable:,} |" in row
    models = {
        model["Name"]: model for model in yaml.safe_load((CONFIGS / "lira" / "metafile.yml").read_text())["Models"]
    }
    if name in models:
        assert models[name]["Metadata"] == {"Parameters": size.total, "Trained Parameters": size.trainable}
        assert (ROOT / models[name]["Config"]).is_file()
        assert all(entry["Source"] == "paper" for entry in models[name]["Reported"])


def test_the_examples_of_parts_run_one_after_the_other(tmp_path, monkeypatch, capsys):
    """They stand alone: scenes, and no checkpoint."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "parts.md").read_text(), re.DOTALL)
    names: dict = {}
    with process_state_restored():
        for number, block in enumerate(blocks):
            exec(compile(block, f"docs/parts.md, example {number}", "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) == len(blocks) - 1, "all but the first print what they made"
    areas = [int(np.prod(sample.image.shape[:2])) for sample in names["val"]]
    covered = [int(decode_union(s.regions[0].segmentations, *s.image.shape[:2]).sum()) for s in names["val"]]
    assert names["scores"]["refcoco/val/refined/cIoU"] == pytest.approx(sum(covered) / sum(areas))
    assert names["tokenizer"].decode(names["sample"].labels[names["sample"].labels >= 0]).count("<seg>") == 2
    assert names["states"].shape == (4, 64) and len(names["logits"][-1]) == 4
    assert len(names["text"].spans) == 1
