"""The quickstart from end to end, with a handful of iterations a stage."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).resolve().parents[1]


def quickstart(work_dir: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "quickstart.py"), "--work-dir", str(work_dir), *arguments],
        capture_output=True,
        text=True,
        cwd=work_dir.parent,
    )


@pytest.mark.slow
def test_the_recipe_runs_and_is_reused(tmp_path):
    arguments = ["--scenes", "32", "--eval-scenes", "2", "--cfg-options", "train_cfg.max_iters=2"]
    first = quickstart(tmp_path / "run", *arguments)
    assert first.returncode == 0, first.stdout[-2000:] + first.stderr[-3000:]
    report = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(report["eval"]) == {"val", "testA", "testB"}
    for scores in report["eval"].values():
        for view in ("refined", "coarse"):
            assert {"cIoU", "gIoU", "P@0.5"} <= scores[view].keys()
            assert all(0 <= value <= 1 for value in scores[view].values())
    assert {name: stage["iters"] for name, stage in report["stages"].items()} == {
        "segmenter": 2,
        "pretrain": 2,
        "finetune": 2,
    }
    assert report["versions"]["torch"] and report["peak_rss_mb"] > 100 and report["seed"] == 0
    assert "refined" in first.stdout and "metrics.json" in first.stdout
    panel = cv2.imread(str(tmp_path / "run" / "panel.png"))
    assert panel is not None and min(panel.shape[:2]) > 160

    logs = sorted((tmp_path / "run").glob("*/xtuner_train.log"))
    written = [log.stat().st_mtime for log in logs]
    assert len(logs) == 3
    second = quickstart(tmp_path / "run", *arguments)
    assert second.returncode == 0
    assert [log.stat().st_mtime for log in logs] == written, "a finished stage was trained again"


def test_a_failing_stage_shows_its_output(tmp_path):
    from lira_plugin.quickstart import Quickstart, Stage

    runner = Quickstart(tmp_path, ROOT / "configs" / "lira")
    with pytest.raises(RuntimeError, match=r"xtuner train .*no_such.*failed") as error:
        runner.train(Stage("segmenter", tmp_path / "no_such.py", "segmenter"))
    assert "no_such.py" in str(error.value) and "Traceback" in str(error.value)
