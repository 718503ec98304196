"""`tools/hallucination.py` over the tiny recipe with random weights."""

import json
import runpy
import sys

import cv2
import pytest
from support.command_ends import ends_with_error
from support.paths import ROOT
from support.process_state import process_state_restored
from support.tiny_recipes import write_work_dir

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    with process_state_restored(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIRA_TINY_ROOT", str(root))
        yield write_work_dir(root)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["hallucination.py", *map(str, arguments)])
    runpy.run_path(str(ROOT / "tools" / "hallucination.py"), run_name="__main__")


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_scenes_are_described_with_and_without(work_dir, monkeypatch, tmp_path, capsys):
    recipe, out = work_dir / "lira_tiny.py", tmp_path / "out"
    options = ["--out", out, "--count", 2, "--objects", 1, "--max-new-tokens", 4, "--without", recipe, work_dir]
    run(monkeypatch, recipe, work_dir, *options)
    written = json.loads((out / "hallucination.json").read_text())
    assert written["scores"].keys() == {"with ILVC", "without ILVC"} and written["data"].keys() == {
        "instances_val.json"
    }
    for side in ("with", "without"):
        captions, answers = lines_of(out / f"captions_{side}_ilvc.jsonl"), lines_of(out / f"answers_{side}_ilvc.jsonl")
        assert len(captions) == 2 and written["scores"][f"{side} ILVC"]["captions"] == 2
        shapes = {name for caption in captions for name in caption["objects"]}
        assert shapes <= {"circle", "square", "triangle", "star", "cross", "ring"}
        assert {answer["label"] for answer in answers} == {"yes", "no"}
        assert all(
            answer["question"].rpartition(" ")[2].rstrip("?") in shapes
            for answer in answers
            if answer["label"] == "yes"
        )
    assert cv2.imread(str(out / "hallucination.png")).shape[1] > 400
    assert "2 images" in capsys.readouterr().out and "<section>" in (out / "hallucination.html").read_text()


def test_what_is_missing_is_said(work_dir, monkeypatch, tmp_path, capsys):
    recipe = work_dir / "lira_tiny.py"
    with ends_with_error(capsys, r"hallucination\.py: error: there is no file or folder of COCO annotations"):
        run(monkeypatch, recipe, work_dir, "--out", tmp_path, "--annotations", tmp_path / "none", "--images", tmp_path)
    with pytest.raises(SystemExit):
        run(monkeypatch, recipe, work_dir, "--out", tmp_path, "--images", tmp_path)
    assert "give --annotations with --images" in capsys.readouterr().err
