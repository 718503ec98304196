"""Running xtuner in a process of its own; a small package of the same name stands in for it."""

import io
import os
import sys
import time
from pathlib import Path

import pytest
from support.processes import start

from lira_plugin.quickstart import xtuner_process
from lira_plugin.quickstart.xtuner_process import run_xtuner


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Make ``code`` what ``xtuner train`` runs, and return the folder to run it in."""
    package = tmp_path / "packages" / "xtuner" / "tools"
    package.mkdir(parents=True)
    for folder in (package, package.parent):  # with these it goes before the real one
        (folder / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    monkeypatch.setattr(xtuner_process, "_SECONDS_BETWEEN_LOOKS", 0.02)

    def write(code):
        (package / "train.py").write_text(code)
        return tmp_path / "stage"

    return write


def test_output_goes_to_a_log_and_the_peak_memory_is_that_of_the_process(tool):
    code = """
        import resource, sys
        wasted = b"x" * (1 << 29)
        print(sys.argv[1:], file=sys.stderr)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """
    folder = tool("if True:" + code)
    peak = run_xtuner(["train", "config.py", "--seed", "1"], folder, "segmenter")
    said, own_peak = (folder / "xtuner_train.log").read_text().splitlines()
    assert said == "['config.py', '--seed', '1']"
    assert peak >= 512 and abs(peak - int(own_peak)) <= 16


def test_freed_memory_is_kept_in_huge_pages_unless_told_otherwise(tool, monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    names = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    folder = tool(f"import os\nprint(*[os.environ[name] for name in {names}])")
    run_xtuner(["train"], folder, "segmenter")
    assert (folder / "xtuner_train.log").read_text().split() == ["glibc.malloc.hugetlb=1", "33554432", "1"]


def test_a_failure_shows_the_end_of_the_output(tool):
    folder = tool("for line in range(40):\n    print('line', line)\nraise SystemExit('no data')")
    with pytest.raises(RuntimeError, match=r"`xtuner train config\.py` failed") as error:
        run_xtuner(["train", "config.py"], folder, "segmenter")
    said = str(error.value)
    assert said.endswith("no data") and "line 39" in said and "line 14" not in said
    assert str(folder / "xtuner_train.log") in said


def test_a_process_that_was_killed_has_failed(tool):
    folder = tool("import os\nos.kill(os.getpid(), 9)")
    with pytest.raises(RuntimeError, match="`xtuner train` failed"):
        run_xtuner(["train"], folder, "segmenter")


def test_the_progress_bar_follows_the_log(tool, monkeypatch):
    bars = []

    class Bar(xtuner_process.tqdm):
        def __init__(self, **options):
            super().__init__(**options | {"disable": False, "file": io.StringIO()})
            bars.append(self)

    monkeypatch.setattr(xtuner_process, "tqdm", Bar)
    lines = [
        f"INFO - Iter(train) [ {index}/30]  lr: 1.0e-03  eta: 0:00:01  loss: 0.{index}  loss_mask: 7"
        for index in (10, 20)
    ]
    run_xtuner(["train"], tool(f"print({chr(10).join(lines)!r})"), "segmenter")
    (bar,) = bars
    assert (bar.desc, bar.n, bar.total, bar.postfix) == ("segmenter", 20, 30, "lr: 1.0e-03, loss: 0.20")


def test_an_interrupt_ends_the_process(tool, monkeypatch):
    folder = tool("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)")
    log = folder / "xtuner_train.log"

    def interrupt(seconds):
        deadline = time.monotonic() + 60
        while not log.read_text().strip() and time.monotonic() < deadline:
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr(xtuner_process.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_xtuner(["train"], folder, "segmenter")
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's end")
def test_a_killed_quickstart_leaves_no_trainer(tool):
    folder = tool(
        "import os, time\nopen('pid.part', 'w').write(str(os.getpid()))\nos.rename('pid.part', 'pid')\ntime.sleep(60)"
    )
    folder.mkdir()
    process = start(run_in, folder)
    while not (folder / "pid").exists():
        assert process.is_alive()
        time.sleep(0.01)
    trainer = Path("/proc", (folder / "pid").read_text(), "stat")
    assert trainer.exists()
    process.kill()
    process.join()
    until = time.monotonic() + 30
    while trainer.exists() and trainer.read_text().rsplit(")", 1)[1].split()[0] != "Z":
        assert time.monotonic() < until, "the trainer goes on"
        time.sleep(0.01)


def run_in(folder):
    os.chdir(folder)
    run_xtuner(["train"], folder, "segmenter")
