"""The quickstart from end to end, with a handful of iterations a stage."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
from support.paths import CONFIGS, ROOT

from lira_plugin.quickstart import Quickstart


def quickstart(work_dir: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "quickstart.py"), "--work-dir", str(work_dir), *arguments],
        capture_output=True,
        text=True,
        cwd=work_dir.parent,
    )


def test_the_recipe_runs_and_is_reused(tmp_path, monkeypatch):
    options = ("train_cfg.max_iters=2",)
    first = quickstart(tmp_path / "run", "--scenes", "32", "--eval-scenes", "2", "--cfg-options", *options)
    assert first.returncode == 0, first.stdout[-2000:] + first.stderr[-3000:]
    report = json.loads((tmp_path / "run" / "metrics.json").read_text())
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
    assert "refined" in first.stdout and "metrics.json" in first.stdout
    sentences = json.loads((tmp_path / "run" / "lira" / "test" / "sentences.json").read_text())
    assert {row["source"] for row in sentences} == {"refcoco/val", "refcoco/testA", "refcoco/testB"}
    assert all(Path(row["image"]).is_file() for row in sentences)
    panel = cv2.imread(str(tmp_path / "run" / "panel.png"))
    assert panel is not None and min(panel.shape[:2]) > 160

    logs = sorted((tmp_path / "run").glob("*/xtuner_train.log"))
    logs += [tmp_path / "run" / "lira" / "test" / "xtuner_test.log", tmp_path / "run" / "panel.png"]
    written = [log.stat().st_mtime for log in logs]
    assert len(logs) == 6
    monkeypatch.setenv("LIRA_TINY_ROOT", "")  # put back what the run sets
    assert (
        Quickstart(tmp_path / "run", CONFIGS / "lira_tiny", scenes=32, eval_scenes=2, options=options).run() == report
    )
    assert [log.stat().st_mtime for log in logs] == written, "what was done is done again"
