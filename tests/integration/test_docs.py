"""What the guides say about recipes, files and numbers is so."""

import re
import shlex

import numpy as np
import pytest
from support.paths import CONFIGS, ROOT
from support.process_state import process_state_restored

import lira_plugin.evaluation
import lira_plugin.hooks
import lira_plugin.models  # noqa: F401  what they register
from lira_plugin.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS
from lira_plugin.structures import decode_union

GUIDES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
    ROOT / "README.md",
    CONFIGS / "lira" / "README.md",
    ROOT / "projects" / "README.md",
    ROOT / "CONTRIBUTING.md",
]
by_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda path: f"{path.parent.name}/{path.stem}")


@by_guide
def test_the_files_of_commands_exist(guide):
    for block in re.findall(r"```bash\n(.*?)```", guide.read_text(), re.DOTALL):
        for word in shlex.split(block, comments=True):
            if word.startswith(("configs/", "tools/", "benchmarks/")) and not word.endswith(".json"):
                assert (ROOT / word).is_file(), word


def lines_of(path) -> set[str]:
    """The lines of a page's tables."""
    return {line for line in path.read_text().splitlines() if line.startswith("| ")}


def test_the_pages_of_recipes_repeat_sizes_memory_and_results_as_they_are():
    said, train = lines_of(CONFIGS / "lira" / "README.md"), lines_of(ROOT / "docs" / "train.md")
    sizes = {line.split(" | ")[0]: line.split(" | ")[1:3] for line in said}
    results = {" | ".join(line.split(" | ")[2:]) for line in said if "| paper |" in line}
    checked = 0
    for page in sorted((ROOT / "docs" / "recipes").glob("*.md")):
        for line in lines_of(page):
            name, *cells = line.strip("| ").split(" | ")
            if len(cells) == 4 and re.fullmatch(r"[\d.]+", cells[0]):
                assert line in train, f"{page.name}: {line}"
            elif len(cells) == 3 and "," in cells[1]:
                assert sizes[f"| {name}"] == cells[1:], f"{page.name}: {line}"
            elif name == "paper":
                assert line.removeprefix("| paper | ") in results, f"{page.name}: {line}"
            else:
                continue
            checked += 1
    assert checked == 3 * (2 + 2 + 1)


def test_every_recipe_of_a_family_has_a_page():
    pages = "\n".join(page.read_text() for page in (ROOT / "docs" / "recipes").glob("*.md"))
    tiny = [path.stem for path in CONFIGS.glob("lira_tiny/*.py")]
    assert tiny and all(f"`{name}`" in pages or name.endswith("_no_ilvc") for name in tiny)


def test_the_page_of_components_has_everything_that_is_registered(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "site_hooks")
    from component_pages import components_page

    page = components_page(ROOT)
    for registry in (DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS):
        registered = [name for name, kind in registry.module_dict.items() if kind.__module__.startswith("lira_plugin.")]
        assert registered and all(f"### {name}\n" in page for name in registered), registered


def test_every_variable_of_the_recipes_is_documented():
    variables = set(re.findall(r"LIRA_\w+", (CONFIGS / "lira" / "_base_" / "paths.py").read_text()))
    assert variables and variables <= set(re.findall(r"LIRA_\w+", (ROOT / "docs" / "weights.md").read_text()))


def test_every_recipe_is_in_the_table():
    text = (CONFIGS / "lira" / "README.md").read_text()
    assert all(f"`{path.name}`" in text for path in CONFIGS.glob("lira/*.py"))
    suites = [path.name for path in CONFIGS.glob("lira/eval/*.py")]
    assert suites and all(f"`eval/{name}`" in text for name in suites)
    assert all(f"`{name}`" in (ROOT / "docs" / "suites.md").read_text() for name in suites)


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
