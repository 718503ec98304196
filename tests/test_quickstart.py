"""The quickstart: what is kept and what is done anew; and from end to end, with a handful of iterations a stage."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from lira_plugin.quickstart import Quickstart, StageRecord, chain, xtuner_process
from lira_plugin.quickstart.xtuner_process import run_xtuner, stop_server

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs" / "lira"


def quickstart(work_dir: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "quickstart.py"), "--work-dir", str(work_dir), *arguments],
        capture_output=True,
        text=True,
        cwd=work_dir.parent,
    )


def test_trainings_keep_freed_memory_in_huge_pages_unless_told_otherwise(monkeypatch):
    given = {}
    monkeypatch.setattr(xtuner_process.subprocess, "Popen", lambda *args, env, **kwargs: given.update(env))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    xtuner_process._server.__wrapped__()
    assert given["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1" and given["MALLOC_MMAP_THRESHOLD_"] == "33554432"
    assert given["MALLOC_TRIM_THRESHOLD_"] == "1"


@pytest.mark.slow
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
    assert Quickstart(tmp_path / "run", CONFIGS, scenes=32, eval_scenes=2, options=options).run() == report
    assert [log.stat().st_mtime for log in logs] == written, "what was done is done again"


@pytest.mark.slow
def test_xtuner_runs_in_processes_of_one_server(tmp_path, monkeypatch):
    """Each with the environment and the folder of its call; one that fails shows its output and does the others no harm."""
    with pytest.raises(RuntimeError, match="`xtuner no_such --seed 1` failed") as error:
        run_xtuner(["no_such", "--seed", "1"], tmp_path, "segmenter")
    assert "xtuner.tools.no_such" in str(error.value) and str(tmp_path / "xtuner_no_such.log") in str(error.value)

    monkeypatch.chdir(tmp_path)
    config = "os = __import__('os')\nraise SystemExit(f\"{os.environ['ASKED']} {os.getcwd()} {os.getppid()}\")\n"
    (tmp_path / "config.py").write_text(config)
    servers = set()
    for asked in ("first", "second"):
        monkeypatch.setenv("ASKED", asked)
        with pytest.raises(RuntimeError, match="`xtuner train config.py` failed") as error:
            run_xtuner(["train", "config.py"], tmp_path / asked, "segmenter")
        *_, said = str(error.value).splitlines()
        *said, server = said.split()
        assert said == [asked, str(tmp_path)] and int(server) != os.getpid()
        servers.add(server)
    assert len(servers) == 1, "the second is to have nothing to import"

    (tmp_path / "config.py").write_text("os = __import__('os')\nos.kill(os.getppid(), 9)\nraise SystemExit(3)\n")
    with pytest.raises(
        RuntimeError, match="`xtuner train config.py` failed"
    ):  # the server is gone, and so is the process
        run_xtuner(["train", "config.py"], tmp_path / "killed", "segmenter")
    with pytest.raises(ProcessLookupError):
        os.kill(int(server), 0)
    stop_server()  # there is none


class FakeXtuner:
    """Stands in for xtuner's process: notes what it is asked and leaves the files that it would leave.

    ``interrupted`` is the stage that does not come to its end, after its first checkpoint.
    """

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.runs, self.interrupted = 0, ""

    def __call__(self, command: list[str], folder: Path, name: str) -> int:
        self.commands.append(command)
        self.runs += 1
        folder.mkdir(parents=True, exist_ok=True)
        if command[0] == "test":
            (folder / "run").mkdir(exist_ok=True)
            scores = {f"refcoco/val/{view}/cIoU": self.runs / 100 for view in ("refined", "coarse")}
            (folder / "run" / "scores.json").write_text(json.dumps(scores))
            return 900
        iters = 1 if name == self.interrupted else 2
        (folder / f"iter_{iters}.pth").write_text(f"{name} {self.runs}")
        (folder / "last_checkpoint").write_text(str(folder / f"iter_{iters}.pth"))
        if name == self.interrupted:
            raise KeyboardInterrupt
        return {"segmenter": 1000, "pretrain": 1200}.get(name, 1100)

    def take(self) -> list[str]:
        """What was run since the last call: the names of the configs, ``test`` for the evaluation."""
        done = ["test" if command[0] == "test" else Path(command[1]).stem for command in self.commands]
        self.commands.clear()
        return done


@pytest.fixture
def xtuner(monkeypatch):
    fake = FakeXtuner()
    monkeypatch.setattr(chain, "run_xtuner", fake)
    monkeypatch.setattr(Quickstart, "draw", lambda self, files, path: path.write_text("drawn"))
    monkeypatch.setenv("LIRA_TINY_ROOT", "elsewhere")  # run() sets it
    return fake


def tiny(work_dir: Path, **settings) -> Quickstart:
    return Quickstart(work_dir, CONFIGS, **{"scenes": 6, "eval_scenes": 1, **settings})


ALL = ["lira_tiny_segmenter", "lira_tiny_semantic", "lira_tiny_pretrain", "lira_tiny", "test"]


def test_nothing_is_done_twice(tmp_path, xtuner):
    first = tiny(tmp_path).run()
    assert xtuner.take() == ALL and first["peak_rss_mb"] == 1200
    drawn = (tmp_path / "panel.png").stat().st_mtime_ns
    assert tiny(tmp_path).run() == first == json.loads((tmp_path / "metrics.json").read_text())
    assert xtuner.take() == []
    assert (tmp_path / "panel.png").stat().st_mtime_ns == drawn
    (tmp_path / "panel.png").unlink()
    tiny(tmp_path).run()
    assert xtuner.take() == [] and (tmp_path / "panel.png").is_file()


def test_a_folder_that_was_moved_is_as_good_as_before(tmp_path, xtuner):
    tiny(tmp_path / "here").run()
    xtuner.take()
    (tmp_path / "here").rename(tmp_path / "there")
    tiny(tmp_path / "there").run()
    assert xtuner.take() == []


def test_other_options_are_refused_until_they_may_overwrite(tmp_path, xtuner):
    first = tiny(tmp_path, options=("train_cfg.max_iters=2",)).run()
    *trained, tested = xtuner.commands
    assert all(command[-2:] == ["--cfg-options", "train_cfg.max_iters=2"] for command in trained)
    dump = f"test_evaluator.dump={tmp_path / 'lira' / 'test' / 'sentences.json'}"
    assert tested[-3:] == ["--cfg-options", "train_cfg.max_iters=2", dump]
    xtuner.take()
    with pytest.raises(
        ValueError, match=r"segmenter holds .*options \['train_cfg.max_iters=2'\] there and \[\] asked.*--ov"
    ):
        tiny(tmp_path).run()
    assert xtuner.take() == []
    second = tiny(tmp_path, overwrite=True).run()
    assert not [command for command in xtuner.commands[:-1] if "--cfg-options" in command or "--resume" in command]
    assert xtuner.take() == ALL and second["eval"] != first["eval"]
    assert tiny(tmp_path).run() == second and xtuner.take() == []


def test_a_variant_shares_the_earlier_stages(tmp_path, xtuner):
    tiny(tmp_path).run()
    xtuner.take()
    tiny(tmp_path, variant="_no_ilvc").run()
    assert xtuner.take() == ["lira_tiny_no_ilvc", "test"]
    tiny(tmp_path).run()
    assert xtuner.take() == []


def test_a_stage_on_other_earlier_stages_is_refused(tmp_path, xtuner):
    tiny(tmp_path).run()
    xtuner.take()
    (tmp_path / "pretrain" / "last_checkpoint").unlink()
    with pytest.raises(ValueError, match=r"lira holds .*earlier stages pretrain '\w+' there"):
        tiny(tmp_path).run()
    assert xtuner.take() == ["lira_tiny_pretrain"]
    tiny(tmp_path, overwrite=True).run()
    assert xtuner.take() == ["lira_tiny", "test"]


def test_a_stage_whose_config_changed_is_refused_but_comments_may_change(tmp_path, xtuner):
    shutil.copytree(CONFIGS, tmp_path / "configs")
    runner = replace(tiny(tmp_path / "run"), config_dir=tmp_path / "configs")
    runner.run()
    xtuner.take()
    schedule = tmp_path / "configs" / "_base_" / "schedules" / "tiny.py"
    schedule.write_text("# a remark\n" + schedule.read_text())
    runner.run()
    assert xtuner.take() == []
    schedule.write_text(schedule.read_text().replace("max_norm=5.0", "max_norm=1.0"))
    with pytest.raises(ValueError, match=r"segmenter holds .*config tiny\.py"):
        runner.run()


def test_checkpoints_of_somebody_else_are_not_taken_for_a_stage(tmp_path, xtuner):
    (tmp_path / "segmenter").mkdir()
    (tmp_path / "segmenter" / "iter_2.pth").write_text("trained by hand")
    (tmp_path / "segmenter" / "last_checkpoint").write_text(str(tmp_path / "segmenter" / "iter_2.pth"))
    with pytest.raises(ValueError, match="nothing says how they were made"):
        tiny(tmp_path).run()
    assert xtuner.take() == []


def test_a_stage_that_somebody_trained_on_is_not_taken_for_the_one_that_was_finished(tmp_path, xtuner):
    tiny(tmp_path).run()
    xtuner.take()
    (tmp_path / "lira" / "iter_3000.pth").write_text("trained on by hand")
    (tmp_path / "lira" / "last_checkpoint").write_text(str(tmp_path / "lira" / "iter_3000.pth"))
    with pytest.raises(
        ValueError, match=r"lira holds .*iter_3000\.pth is not the checkpoint that the stage ended with"
    ):
        tiny(tmp_path).run()
    assert xtuner.take() == []


def test_the_evaluation_alone_is_done_again_and_the_memory_of_the_training_stays(tmp_path, xtuner):
    tiny(tmp_path).run()
    xtuner.take()
    (tmp_path / "metrics.json").unlink()
    assert tiny(tmp_path).run()["peak_rss_mb"] == 1200
    assert xtuner.take() == ["test"]


def test_an_interrupted_stage_goes_on_and_its_seconds_add_up(tmp_path, xtuner):
    xtuner.interrupted = "pretrain"
    with pytest.raises(KeyboardInterrupt):
        tiny(tmp_path).run()
    folder = tmp_path / "pretrain"
    record, written = StageRecord.read(folder), (folder / "iter_1.pth").stat().st_mtime
    assert record.iters is None and record.seconds == 0
    os.utime(folder / "iter_1.pth", (written, record.started + 100))  # its first process took this long
    with pytest.raises(ValueError, match="pretrain holds .*options"):
        runner = tiny(tmp_path, options=("train_cfg.max_iters=4",))
        runner.train(runner.stages[2], {**record.made_from, "options": list(runner.options)})
    with pytest.raises(KeyboardInterrupt):
        tiny(tmp_path).run()
    assert xtuner.commands[-1][-2:] == ["--resume", str(folder / "iter_1.pth")]
    record = StageRecord.read(folder)
    assert 100 <= record.seconds < 101
    os.utime(folder / "iter_1.pth", (written, record.started + 20))
    xtuner.interrupted = ""
    report = tiny(tmp_path).run()
    assert 120 <= report["stages"]["pretrain"]["seconds"] < 125
    assert report["stages"]["segmenter"]["seconds"] < 5
    assert report["stages"]["pretrain"]["iters"] == 2
