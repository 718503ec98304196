"""One training a work dir; a lock does not outlive its process."""

import os
import time

import pytest
from mmengine.hooks import Hook
from support.processes import start
from support.training_runs import train

from lira_plugin.hooks import WorkDirLockHook, work_dir_lock
from lira_plugin.hooks.work_dir_lock import WorkDirLock

pytestmark = pytest.mark.slow


def hold(folder):
    WorkDirLock(folder)
    (folder / "held").touch()
    time.sleep(60)


def test_the_message_names_the_process_and_its_death_lifts_the_lock(tmp_path):
    process = start(hold, tmp_path)
    try:
        while not (tmp_path / "held").exists():
            time.sleep(0.01)
            assert process.is_alive()
        with pytest.raises(RuntimeError, match=rf"process {process.pid} on \S+ is training in .*--work-dir"):
            train(tmp_path, 2, hooks=(WorkDirLockHook,))
    finally:
        process.kill()
        process.join()
    losses, _ = train(tmp_path, 2, hooks=(WorkDirLockHook,))
    assert len(losses) == 2


def test_where_nothing_can_be_locked_training_goes_on(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(37, "No locks available")

    said = []
    monkeypatch.setattr(work_dir_lock.fcntl, "flock", unknown)
    monkeypatch.setattr(work_dir_lock, "print_log", lambda text, *_: said.append(text))
    WorkDirLock(tmp_path).release()
    assert "No locks available" in said[0] and str(tmp_path) in said[0]


class Fail(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        raise ValueError("stopped")


def test_a_process_can_train_again_after_a_failure(tmp_path):
    with pytest.raises(ValueError, match="stopped"):
        train(tmp_path, 2, hooks=(WorkDirLockHook, Fail))
    train(tmp_path, 2, hooks=(WorkDirLockHook,))
    assert f"process {os.getpid()}" in (tmp_path / "training.lock").read_text()
