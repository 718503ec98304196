"""Being asked to end is as Ctrl-C."""

import os
import signal
import time

import pytest
from support.processes import start

from lira_plugin.end_signals import end_cleanly_on_signals

pytestmark = pytest.mark.slow


def end_cleanly(folder):
    end_cleanly_on_signals()
    try:
        (folder / "ready").touch()
        time.sleep(60)
    finally:
        (folder / "finished").touch()


def wait_for(path, process):
    until = time.monotonic() + 60
    while not path.exists():
        assert process.is_alive() and time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGHUP])
def test_what_is_begun_is_finished(tmp_path, which):
    process = start(end_cleanly, tmp_path)
    wait_for(tmp_path / "ready", process)
    os.kill(process.pid, which)
    process.join(60)
    assert process.exitcode == 128 + which and (tmp_path / "finished").exists()
