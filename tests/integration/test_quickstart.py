"""The quickstart from end to end, with a handful of iterations a stage, and the notebook that goes on from what it leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from support.paths import CONFIGS, ROOT

from lira_plugin.quickstart import Quickstart

OPTIONS = ("train_cfg.max_iters=2",)


def quickstart(work_dir: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "quickstart.py"), "--work-dir", str(work_dir), *arguments],
        capture_output=True,
        text=True,
        cwd=work_dir.parent,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, str]:
    """The work dir of a short quickstart, and what it printed."""
    work_dir = tmp_path_factory.mktemp("quickstart") / "run"
    first = quickstart(work_dir, "--scenes", "32", "--eval-scenes", "2", "--cfg-options", *OPTIONS)
    assert first.returncode == 0, first.stdout[-2000:] + first.stderr[-3000:]
    return work_dir, first.stdout


def test_the_recipe_runs_and_is_reused(made, monkeypatch):
    work_dir, printed = made
    report = json.loads((work_dir / "metrics.json").read_text())
    assert set(report["eval"]) == {"val", "testA", "testB"}
    for scores in report["eval"].values():
        for view in ("refined", "coarse"):
            assert {"cIoU", "gIoU", "P@0.5"} <= scores[view].keys()
            assert all(0 <= value <= 1 for value in scores[view].values())
    assert {name: stage["iters"] for name, stage in report["stages"].items()} == {
        "segmenter": 2,
        "semantic": 2,
        "pretrain": 2,
        "finetune": 2,
    }
    assert report["versions"]["torch"] and report["peak_rss_mb"] > 100 and report["seed"] == 0
    assert "refined" in printed and "metrics.json" in printed
    sentences = json.loads((work_dir / "lira" / "test" / "sentences.json").read_text())
    assert {row["source"] for row in sentences} == {"refcoco/val", "refcoco/testA", "refcoco/testB"}
    assert all(Path(row["image"]).is_file() for row in sentences)
    panel = cv2.imread(str(work_dir / "panel.png"))
    assert panel is not None and min(panel.shape[:2]) > 160

    logs = sorted(work_dir.glob("*/xtuner_train.log"))
    logs += [work_dir / "lira" / "test" / "xtuner_test.log", work_dir / "panel.png"]
    written = [log.stat().st_mtime for log in logs]
    assert len(logs) == 6
    monkeypatch.setenv("LIRA_TINY_ROOT", "")  # put back what the run sets
    again = Quickstart(work_dir, CONFIGS / "lira_tiny", scenes=32, eval_scenes=2, options=OPTIONS)
    assert again.run() == report
    assert [log.stat().st_mtime for log in logs] == written, "what was done is done again"


def test_the_tour_runs(made, monkeypatch):
    """Every cell, in a kernel of its own; the pictures are there, whatever so short a training has taught."""
    pytest.importorskip("nbclient")
    monkeypatch.syspath_prepend(ROOT / "docs" / "site_hooks")
    from store_tour import NOTEBOOK, run_notebook

    monkeypatch.setenv("LIRA_TINY_ROOT", str(made[0]))
    monkeypatch.setenv("LIRA_TOUR_STEPS", "2")
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    notebook = run_notebook(NOTEBOOK)
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in shown if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 8
    (checkpoint,) = (made[0] / "tour").glob("iter_2.pth")
    assert checkpoint.stat().st_size > 1e6
