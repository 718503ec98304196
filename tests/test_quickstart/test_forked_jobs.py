"""Jobs in processes of their own; a small package stands in for xtuner's tools."""

import os
import sys
import textwrap
import time
from pathlib import Path

import pytest
from support.processes import ensure_forked, start

from lira_plugin.quickstart import forked_jobs
from lira_plugin.quickstart.forked_jobs import Job, LogEnd, run_jobs, xtuner_job


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Make ``code`` what the module ``stand_in.NAME`` runs, and return a job that runs it."""
    ensure_forked()  # with all imports, for whichever test comes first
    package = tmp_path / "packages" / "stand_in"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(forked_jobs, "_SECONDS_BETWEEN_LOOKS", 0.02)

    def write(code: str, *arguments: str, name: str = "train") -> Job:
        (package / f"{name}.py").write_text(f"def main():\n{textwrap.indent(textwrap.dedent(code), '    ')}\n")
        return Job(name, f"stand_in.{name}", arguments, tmp_path / name / "log")

    return write


def test_a_tool_of_xtuner_is_a_module(tmp_path):
    job = xtuner_job("segmenter", ["train", "config.py", "--seed", "1"], tmp_path)
    assert job == Job("segmenter", "xtuner.tools.train", ["config.py", "--seed", "1"], tmp_path / "xtuner_train.log")


def ignore(ends: list[LogEnd]) -> None:
    """Show nothing."""


def test_output_goes_to_a_log_and_the_peak_memory_is_that_of_the_process(tool):
    job = tool(
        """
        import resource, sys, time
        time.sleep(0.2)
        wasted = b"x" * (1 << 29)
        print(sys.argv[1:], file=sys.stderr)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        """,
        "config.py",
        "--seed",
        "1",
    )
    [usage] = run_jobs([job], ignore)
    said, own_peak = job.log.read_text().splitlines()
    assert said == "['config.py', '--seed', '1']"
    assert usage.peak_rss_mb >= 512 and abs(usage.peak_rss_mb - int(own_peak)) <= 16
    assert usage.seconds >= 0.2


def test_processes_side_by_side_share_the_cores(tool, tmp_path, monkeypatch):
    """Each waits for a file of the other one, and has its part of the threads."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    code = """
        import pathlib, time, torch
        folder = pathlib.Path({folder!r})
        (folder / {own!r}).touch()
        while not (folder / {other!r}).exists():
            time.sleep(0.01)
        print(torch.get_num_threads())
    """
    jobs = [
        tool(code.format(folder=str(tmp_path), own=own, other=other), name=own)
        for own, other in (("left", "right"), ("right", "left"))
    ]
    run_jobs(jobs, ignore)
    assert [job.log.read_text().split() for job in jobs] == [["1"], ["1"]]


def test_the_environment_is_that_of_the_moment(tool, monkeypatch):
    job = tool("import os\nprint(os.environ['LIRA_TINY_ROOT'])")
    for root in ("one", "two"):
        monkeypatch.setenv("LIRA_TINY_ROOT", root)
        run_jobs([job], ignore)
        assert job.log.read_text().split() == [root]


def test_freed_memory_is_kept_in_huge_pages_unless_told_otherwise(monkeypatch):
    names = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    found = []
    monkeypatch.setattr(
        forked_jobs.forkserver, "ensure_running", lambda: found.extend(os.environ[name] for name in names)
    )
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    forked_jobs.import_early()
    assert found == ["glibc.malloc.hugetlb=1", "33554432", "1"]
    assert "GLIBC_TUNABLES" not in os.environ and os.environ["MALLOC_TRIM_THRESHOLD_"] == "1"


def test_a_failure_shows_the_end_of_the_output_and_ends_the_others(tool, tmp_path):
    waiting = tool("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)", name="waiting")
    code = f"""
        import pathlib, time
        while not pathlib.Path({str(waiting.log)!r}).read_text().strip():
            time.sleep(0.01)
        for line in range(40):
            print('line', line)
        raise SystemExit('no data')
    """
    job = tool(code, "config.py")
    waiting.log.parent.mkdir()
    waiting.log.touch()
    with pytest.raises(RuntimeError, match=r"`python -m stand_in\.train config\.py` failed") as error:
        run_jobs([waiting, job], ignore)
    said = str(error.value)
    assert "failed: no data (" in said and "line 39" not in said
    assert str(job.log) in said and "line 39\nno data" in job.log.read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(int(waiting.log.read_text()), 0)


def test_a_process_that_was_killed_has_failed(tool):
    with pytest.raises(RuntimeError, match=r"`python -m stand_in\.train` failed: exit code -9"):
        run_jobs([tool("import os\nos.kill(os.getpid(), 9)")], ignore)


def test_what_is_shown_follows_the_log(tool):
    lines = [
        f"INFO - Iter(train) [ {index}/30]  lr: 1.0e-03  eta: 0:00:01  loss: 0.{index}  loss_mask: 7"
        for index in (10, 20)
    ]
    lines.insert(1, "INFO - Iter(val) [4/4]  refcoco/val/refined/cIoU: 0.3  refcoco/val/refined/P@0.5: 0.6250")
    shown = []
    run_jobs([tool(f"print({chr(10).join(lines)!r})")], shown.extend)
    assert shown[-1] == LogEnd(20, 30, "loss: 0.20", 0.625)


def test_an_interrupt_ends_the_process(tool, monkeypatch):
    job = tool("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)")

    def interrupt(ends):
        deadline = time.monotonic() + 60
        while not job.log.read_text().strip() and time.monotonic() < deadline:
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([job], interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int(job.log.read_text()), 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_killed_quickstart_leaves_no_trainer(tool, tmp_path):
    job = tool("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    process = start(run, job, os.fspath(tmp_path / "packages"))
    while not job.log.exists() or not job.log.read_text():
        assert process.is_alive()
        time.sleep(0.01)
    trainer = Path("/proc", job.log.read_text().strip(), "stat")
    assert trainer.exists()
    process.kill()
    process.join()
    until = time.monotonic() + 30
    while trainer.exists() and trainer.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < until, "the trainer goes on"
        time.sleep(0.01)


def run(job: Job, packages: str) -> None:
    sys.path.insert(0, packages)
    run_jobs([job], ignore)
