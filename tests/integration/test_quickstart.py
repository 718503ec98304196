"""The quickstart from end to end, with a handful of iterations a stage, and the notebook that goes on from what it leaves."""

import json
import os
import runpy
import shlex
import sys
from pathlib import Path

import cv2
import pytest
from support.brief_training import EVAL_SCENES, OPTIONS, SCENES
from support.paths import ROOT

from lira_plugin import command


@pytest.fixture
def quickstart_tool(briefly_trained, monkeypatch, capsys):
    """Run ``tools/quickstart.py --fast`` in the folder of the trained model, and return what it prints."""

    def run(*arguments: str) -> str:
        monkeypatch.setenv("LIRA_TINY_ROOT", "")  # put back what the run sets
        scenes = ("--scenes", str(SCENES), "--eval-scenes", str(EVAL_SCENES))
        words = ["--fast", "--work-dir", briefly_trained.root.name, *scenes, *arguments, "--cfg-options", *OPTIONS]
        monkeypatch.chdir(briefly_trained.root.parent)
        monkeypatch.setattr(sys, "argv", ["quickstart.py", *words])
        runpy.run_path(str(ROOT / "tools" / "quickstart.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_the_recipe_runs(briefly_trained):
    root, report = briefly_trained.root, briefly_trained.report
    assert report == json.loads((root / "metrics.json").read_text())
    for view in ("refined", "coarse"):
        scores = report["eval"]["val"][view]
        assert {"cIoU", "gIoU", "P@0.5"} <= scores.keys()
        assert all(0 <= value <= 1 for value in scores.values())
    assert {name: stage["iters"] for name, stage in report["stages"].items()} == dict.fromkeys(
        ("segmenter", "semantic", "finetune"), 2
    )
    assert report["versions"]["torch"] and report["peak_rss_mb"] > 100 and report["seed"] == 0
    sentences = json.loads((briefly_trained.model / "test" / "sentences.json").read_text())
    right = [sentence["refined_iou"] > 0.5 for sentence in sentences if sentence["source"] == "refcoco/val"]
    assert report["eval"]["val"]["refined"]["P@0.5"] == pytest.approx(sum(right) / len(right))
    assert all(Path(sentence["image"]).is_file() for sentence in sentences)
    panel = cv2.imread(str(root / "panel.png"))
    assert panel is not None and min(panel.shape[:2]) > 160


def test_what_is_done_is_not_done_again(briefly_trained, quickstart_tool):
    logs = [*briefly_trained.root.glob("*/xtuner_train.log"), briefly_trained.model / "test" / "xtuner_test.log"]
    logs += [briefly_trained.root / "panel.png"]
    written = [log.stat().st_mtime for log in logs]
    assert len(logs) == 5
    said = quickstart_tool()
    assert [log.stat().st_mtime for log in logs] == written
    assert "refined" in said and "metrics.json" in said and "of 10 cases" in said


def test_the_commands_that_it_names_work(briefly_trained, quickstart_tool, monkeypatch, tmp_path):
    monkeypatch.delenv("UV", raising=False)
    lines = [line.strip() for line in quickstart_tool().splitlines()]
    commands = [shlex.split(line) for line in lines if line.startswith("lira ")]
    assert [words[1] for words in commands] == ["infer", "demo", "quickstart"]
    infer = commands[0][1:]
    infer[infer.index("--out-dir") + 1] = str(tmp_path / "out")
    with pytest.raises(SystemExit) as ended:
        command.main(infer)
    assert not ended.value.code and list((tmp_path / "out").rglob("*.png"))


def test_the_full_recipe_runs(briefly_trained_in_full):
    report = briefly_trained_in_full.report
    stages = ("segmenter", "semantic", "pretrain", "finetune")
    assert {name: stage["iters"] for name, stage in report["stages"].items()} == dict.fromkeys(stages, 2)
    assert set(report["eval"]) == {"val", "testA", "testB"}


def test_the_tour_runs(briefly_trained_in_full, monkeypatch):
    """Every cell, in a kernel of its own; the pictures are there, whatever so short a training has taught."""
    pytest.importorskip("nbclient")
    monkeypatch.syspath_prepend(ROOT / "docs" / "site_hooks")
    from store_tour import NOTEBOOK, run_notebook

    root = briefly_trained_in_full.root
    monkeypatch.setenv("LIRA_TINY_ROOT", str(root))
    monkeypatch.setenv("LIRA_TOUR_STEPS", "2")
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    notebook = run_notebook(NOTEBOOK)
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in shown if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 8
    (checkpoint,) = (root / "tour").glob("iter_2.pth")
    assert checkpoint.stat().st_size > 1e6
