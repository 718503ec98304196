"""`tools/attributes.py` and `tools/word_cloud.py` over the tiny recipe with random weights."""

import json
import runpy
import sys

import cv2
import numpy as np
import pytest
from support.command_ends import ends_with_error
from support.paths import ROOT
from support.process_state import process_state_restored
from support.tiny_recipes import write_work_dir

from lira_plugin.structures import encode_mask
from lira_plugin.visualization import word_cloud

pytestmark = pytest.mark.slow

WORDS = ["--words", "color=red,light blue", "--words", "size=big,small,tiny"]


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    with process_state_restored(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIRA_TINY_ROOT", str(root))
        yield write_work_dir(root)


@pytest.fixture(scope="module")
def scenes(work_dir):
    return sorted((work_dir.parent / "data" / "images").glob("*.jpg"))


@pytest.fixture(scope="module")
def items(work_dir, scenes):
    lines = []
    for index, (path, expression) in enumerate(zip(scenes, ["small star", "thing on the left", "The circle."])):
        height, width = cv2.imread(str(path)).shape[:2]
        mask = np.zeros((height, width), bool)
        mask[2:20, 3:30] = True
        lines.append(
            {
                "id": index,
                "image": path.name,
                "height": height,
                "width": width,
                "expression": expression,
                "attribute": "color",
                "value": ["red", "blue", "red"][index],
                "segmentation": encode_mask(mask),
            }
        )
    file = work_dir / "items.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def run(monkeypatch, tool, *arguments):
    monkeypatch.setattr(sys, "argv", [f"{tool}.py", *map(str, arguments)])
    runpy.run_path(str(ROOT / "tools" / f"{tool}.py"), run_name="__main__")


def test_one_object(work_dir, scenes, monkeypatch, tmp_path, capsys):
    out = tmp_path / "bars.png"
    run(monkeypatch, "attributes", work_dir / "lira_tiny.py", work_dir, scenes[0], "small star", "--out", out, *WORDS)
    said = capsys.readouterr().out
    assert f"{scenes[0]}: small star" in said and "1 expressions" in said
    (color,) = [line.split() for line in said.splitlines() if line.startswith("  color")]
    assert {"red", "light", "blue"} <= set(color)
    assert cv2.imread(str(out)).shape[0] > 220


def test_items_with_their_true_values(work_dir, scenes, items, monkeypatch, tmp_path, capsys):
    options = [
        "--items",
        items,
        "--image-root",
        scenes[0].parent,
        "--count",
        2,
        "--stage",
        "refined",
        "--rule",
        "whole",
    ]
    run(monkeypatch, "attributes", work_dir / "lira_tiny.py", work_dir, *options, "--out", tmp_path / "b.png", *WORDS)
    assert "2 expressions" in capsys.readouterr().out
    run(monkeypatch, "attributes", work_dir / "lira_tiny.py", work_dir, *options, "--out", tmp_path / "c.png", *WORDS)
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.jpg"],
        ["a.jpg", "star", "--items", "x"],
        ["a.jpg", "star", "--words", "red"],
        ["a.jpg", "s", "--words", "=a"],
    ],
)
def test_wrong_arguments(monkeypatch, arguments, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, "attributes", "recipe.py", "weights.pth", "--out", "o.png", *arguments)
    assert "error:" in capsys.readouterr().err


def test_a_cloud_of_the_words(items, monkeypatch, tmp_path, capsys):
    pytest.importorskip("wordcloud")
    run(monkeypatch, "word_cloud", items, "--out", tmp_path / "cloud.png", "--width", 300, "--height", 200)
    assert cv2.imread(str(tmp_path / "cloud.png")).shape == (200, 300, 3)
    assert "7 words of 3 expressions" in capsys.readouterr().out, "small star thing left circle red blue"
    run(monkeypatch, "word_cloud", items, "--of", "attributes", "--out", tmp_path / "cloud.png")
    assert "2 words of 3 expressions" in capsys.readouterr().out


def test_without_the_package_the_command_says_how_to_get_it(items, monkeypatch, tmp_path, capsys):
    def missing(*args, **kwargs):
        raise ImportError("pip install it")

    monkeypatch.setattr(word_cloud, "draw_word_cloud", missing)
    monkeypatch.setattr("lira_plugin.visualization.draw_word_cloud", missing)
    with ends_with_error(capsys, "error: pip install it"):
        run(monkeypatch, "word_cloud", items, "--out", tmp_path / "cloud.png")
