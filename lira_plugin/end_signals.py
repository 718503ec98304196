"""A command that is asked to end does so as after Ctrl-C, and its children end with it."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
"""Linux's call that asks for a signal at the death of the parent (``man 2 prctl``)."""


def end_cleanly_on_signals() -> None:
    """Let SIGTERM and SIGHUP raise ``SystemExit``, so that files are finished and children ended; Python ignores none of both."""
    for asked in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, _exit)


def _exit(asked: int, frame: object) -> None:
    raise SystemExit(128 + asked)  # the exit code that shells give such an end


def dies_with_parent() -> Callable[[], None]:
    """For ``subprocess.Popen(preexec_fn=...)``: the child gets SIGTERM when this process ends, however it ends (Linux only)."""
    parent = os.getpid()
    call = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None

    def ask() -> None:
        if call is not None:
            call(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended in between
            os._exit(1)

    return ask
