"""One training a work dir."""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from lira_plugin.registry import HOOKS

LOCK = "training.lock"
_HELD: dict[Path, "WorkDirLock"] = {}
"""The locks of this process."""


class WorkDirLock:
    """A lock on a work dir, which the system lifts when the process ends in whatever way.

    A process that takes the lock of a folder again, after a training that failed, has it.

    Args:
        work_dir: made if missing; the file ``training.lock`` in it names the process.

    Raises:
        RuntimeError: another process holds it; the message names that.
    """

    def __init__(self, work_dir: str | Path) -> None:
        path = Path(work_dir, LOCK).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        if former := _HELD.pop(path, None):
            former.release()
        self._file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise RuntimeError(
                f"{holder} is training in {work_dir}: wait for it, end it, or choose another folder with --work-dir "
                "(docs/troubleshooting.md#another-process-trains-here)"
            ) from None
        except OSError as error:  # some network file systems know no locks
            print_log(f"{path.parent} cannot be locked ({error}): see to it that nothing else trains there", "current")
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._file.flush()
        _HELD[path] = self

    def release(self) -> None:
        """Let others in."""
        if not self._file.closed:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)  # also where a process that reads data has inherited the file
            self._file.close()


@HOOKS.register_module()
class WorkDirLockHook(Hook):
    """Two trainings that write checkpoints to the same work dir would destroy one another: the second one is refused."""

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self._lock: WorkDirLock | None = None

    def before_train(self, runner: Runner) -> None:
        """Take the lock.

        Raises:
            RuntimeError: another process trains there.
        """
        if is_main_process():
            self._lock = WorkDirLock(runner.work_dir)

    def after_train(self, runner: Any) -> None:
        """Lift it."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
