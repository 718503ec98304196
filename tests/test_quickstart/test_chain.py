"""The chain of the quickstart: what is kept and what is done anew. A fake stands in for xtuner."""

import fcntl
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from support.paths import CONFIGS

from lira_plugin.quickstart import FAST, Quickstart, StageRecord, chain
from lira_plugin.quickstart.forked_jobs import Job, Usage

pytestmark = pytest.mark.slow


class FakeXtuner:
    """Stands in for xtuner's processes: notes what it is asked and leaves the files that they would leave.

    ``together`` has the names of the jobs of each call; ``interrupted`` is the stage that does not come to its end, after its
    first checkpoint.
    """

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.together: list[list[str]] = []
        self.runs, self.interrupted = 0, ""

    def __call__(self, jobs: list[Job], show) -> list[Usage]:
        self.together.append([job.name for job in jobs])
        return [Usage(self.run(job), 0.5) for job in jobs]

    def run(self, job: Job) -> int:
        folder, name = job.log.parent, job.name
        if name == "panel":
            Path(job.arguments[3]).write_text("drawn")
            return 2000
        self.commands.append([job.module.rpartition(".")[2], *job.arguments])
        self.runs += 1
        folder.mkdir(parents=True, exist_ok=True)
        if name == "evaluate":
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
    monkeypatch.setattr(chain, "run_jobs", fake)
    monkeypatch.setattr(chain, "import_early", lambda: None)
    monkeypatch.setenv("LIRA_TINY_ROOT", "elsewhere")  # run() sets it
    return fake


def tiny(work_dir: Path, **settings) -> Quickstart:
    return Quickstart(work_dir, CONFIGS / "lira_tiny", **{"scenes": 6, "eval_scenes": 1, **settings})


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


def test_the_fast_family_trains_side_by_side_what_needs_nothing_of_each_other(tmp_path, xtuner):
    tiny(tmp_path, family=FAST).run()
    assert xtuner.together == [["segmenter", "semantic"], ["finetune"], ["evaluate", "panel"]]
    assert xtuner.take() == ["lira_tiny_fast_segmenter", "lira_tiny_fast_semantic", "lira_tiny_fast", "test"]
    settings = json.loads((tmp_path / "data" / "scenes.json").read_text())
    assert settings["level"] == "easy" and settings["size"] == FAST.size
    tiny(tmp_path, family=FAST).run()
    assert xtuner.take() == []
    for checkpoint in (tmp_path / "semantic_fast").glob("*.pth"):
        checkpoint.unlink()
    tiny(tmp_path, family=FAST, overwrite=True).run()
    assert xtuner.take()[0] == "lira_tiny_fast_semantic", "what the other one made is kept"


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


def test_two_at_once_in_a_folder_are_refused(tmp_path, xtuner):
    with (tmp_path / "training.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match=r"another process is training in .*--work-dir"):
            tiny(tmp_path).run()
    assert xtuner.take() == []


def test_a_stage_on_other_earlier_stages_is_refused(tmp_path, xtuner):
    tiny(tmp_path).run()
    xtuner.take()
    for checkpoint in (tmp_path / "pretrain").glob("*.pth"):
        checkpoint.unlink()
    with pytest.raises(ValueError, match=r"lira holds .*earlier stages pretrain '\w+' there"):
        tiny(tmp_path).run()
    assert xtuner.take() == ["lira_tiny_pretrain"]
    tiny(tmp_path, overwrite=True).run()
    assert xtuner.take() == ["lira_tiny", "test"]


def test_a_stage_whose_config_changed_is_refused_but_comments_may_change(tmp_path, xtuner):
    shutil.copytree(CONFIGS, tmp_path / "configs")
    runner = replace(tiny(tmp_path / "run"), config_dir=tmp_path / "configs" / "lira_tiny")
    runner.run()
    xtuner.take()
    schedule = tmp_path / "configs" / "lira_tiny" / "_base_" / "tiny_schedule.py"
    schedule.write_text("# a remark\n" + schedule.read_text())
    runner.run()
    assert xtuner.take() == []
    schedule.write_text(schedule.read_text().replace("max_norm=5.0", "max_norm=1.0"))
    with pytest.raises(ValueError, match=r"segmenter holds .*config tiny_schedule\.py"):
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
        made_from = {**record.made_from, "options": list(runner.options)}
        runner.train([runner.stages[2]], {"pretrain": made_from}, lambda ends: None)
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
