"""The panels command, over a tiny recipe with random weights."""

import json
import runpy
import shutil
import sys

import cv2
import pytest
import torch
from mmengine.config import Config
from support.command_ends import ends_with_error
from support.paths import ROOT
from support.process_state import process_state_restored

from lira_plugin.registry import MODELS
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer

pytestmark = pytest.mark.slow

LEAF = """
from mmengine.config import read_base

with read_base():
    from .lira_tiny import *

model.update(init_from=[])
model.generation.update(max_new_tokens=8)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A copy of the recipes, with one more that starts from nothing, and a checkpoint of it."""
    root = tmp_path_factory.mktemp("panels")
    shutil.copytree(ROOT / "configs", root / "configs", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "configs" / "lira_tiny" / "recipe.py").write_text(LEAF)
    (root / "configs" / "lira_tiny" / "no_scenes.py").write_text(LEAF + "data_root = None\n")
    (root / "configs" / "lira_tiny" / "other_data.py").write_text(LEAF + f"data_root = {str(root / 'lira')!r}\n")
    files = write_scenes(root / "data", 3, 4, progress=False)
    write_scene_tokenizer(files)
    with process_state_restored(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIRA_TINY_ROOT", str(root))
        torch.save(
            MODELS.build(Config.fromfile(root / "configs" / "lira_tiny" / "recipe.py").model).state_dict(),
            root / "weights.pth",
        )
        yield root, files


def panels(monkeypatch, root, out, *arguments, recipe="recipe"):
    command = [
        "panels.py",
        root / "configs" / "lira_tiny" / f"{recipe}.py",
        root / "weights.pth",
        "--out",
        out,
        *arguments,
    ]
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    runpy.run_path(str(ROOT / "tools" / "panels.py"), run_name="__main__")
    return cv2.imread(str(out))


def test_scenes_of_the_recipe_are_the_default(trained, tmp_path, monkeypatch, capsys):
    root, _ = trained
    figure = panels(monkeypatch, root, tmp_path / "new" / "panels.png")
    assert figure.shape[0] > 5 * 180 and 700 < figure.shape[1] <= 1600
    assert "10 answers" in capsys.readouterr().out


def test_own_questions(trained, tmp_path, monkeypatch, capsys):
    root, files = trained
    image = next(files.images.iterdir())
    lines = [{"image": str(image), "question": "Please segment red ring.", "task": "RefSeg"}]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    figure = panels(monkeypatch, root, tmp_path / "p.png", "--questions", tmp_path / "q.jsonl", "--cell-height", 300)
    assert 300 < figure.shape[0] < 600 and "1 answers" in capsys.readouterr().out


def test_a_recipe_without_scenes_asks_for_questions(trained, tmp_path, monkeypatch, capsys):
    root, _ = trained
    for recipe in ("no_scenes", "other_data"):
        with ends_with_error(capsys, "--questions"):
            panels(monkeypatch, root, tmp_path / "p.png", recipe=recipe)


def test_before_and_after_on_a_data_set_of_the_recipe(trained, tmp_path, monkeypatch, capsys):
    root, _ = trained
    before = ("--before", root / "weights.pth", "--data", "test_dataloader", "--count", 3)
    figure = panels(monkeypatch, root, tmp_path / "p.png", *before)
    assert figure.shape[0] > 2 * 180 and "3 answers" in capsys.readouterr().out
    (tmp_path / "work_dir").mkdir()
    (tmp_path / "work_dir" / "recipe.py").write_text("no recipe at all")
    shutil.copy(root / "weights.pth", tmp_path / "work_dir")
    with ends_with_error(capsys, "recipe.py cannot be read: SyntaxError"):  # the recipe beside a checkpoint is its own
        panels(monkeypatch, root, tmp_path / "p.png", "--before", tmp_path / "work_dir" / "weights.pth", "--data")
    with ends_with_error(capsys, "has no data set in 'my_loader'"):
        panels(monkeypatch, root, tmp_path / "p.png", "--data", "my_loader")
