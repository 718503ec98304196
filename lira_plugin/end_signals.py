"""A command that is asked to end does so as after Ctrl-C, and its children end with it."""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""Linux's call that asks for a signal at the death of the parent (``man 2 prctl``)."""


def end_cleanly_on_signals() -> None:
    """Let SIGTERM and SIGHUP raise ``SystemExit``, so that files are finished and children ended; Python ignores none of both."""
    for asked in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, _exit)


def _exit(asked: int, frame: object) -> None:
    raise SystemExit(128 + asked)  # the exit code that shells give such an end


def end_with_parent() -> None:
    """Let this process get SIGTERM when the one that forked it ends, however that ends (Linux only)."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended in between
        os._exit(1)
