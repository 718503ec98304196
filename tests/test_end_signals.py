"""Being asked to end is as Ctrl-C, and children do not outlive their parent."""

import os
import signal
import subprocess
import sys
import time

import pytest
from support.processes import start

from lira_plugin.end_signals import end_cleanly_on_signals, end_with_parent

pytestmark = pytest.mark.slow
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def end_cleanly(folder):
    end_cleanly_on_signals()
    try:
        (folder / "ready").touch()
        time.sleep(60)
    finally:
        (folder / "finished").touch()


def wait_for(path, process):
    until = time.monotonic() + 60
    while not path.exists() or (not path.read_text() and path.name == "child"):
        assert process.is_alive() and time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_begun_is_finished(tmp_path, which):
    process = start(end_cleanly, tmp_path)
    wait_for(tmp_path / "ready", process)
    os.kill(process.pid, which)
    process.join(60)
    assert process.exitcode == 128 + which and (tmp_path / "finished").exists()


def parent(folder):
    child = subprocess.Popen(SLEEP, preexec_fn=end_with_parent)
    (folder / "child").write_text(str(child.pid))
    child.wait()


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's end")
@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGKILL])
def test_a_child_ends_with_its_parent(tmp_path, which):
    process = start(parent, tmp_path)
    wait_for(tmp_path / "child", process)
    child = int((tmp_path / "child").read_text())
    assert is_alive(child)
    os.kill(process.pid, which)
    process.join(60)
    until = time.monotonic() + 30
    while is_alive(child):
        assert time.monotonic() < until, "an orphan goes on"
        time.sleep(0.01)
