"""A command that is asked to end does so as after Ctrl-C."""

import signal


def end_cleanly_on_signals() -> None:
    """Let SIGTERM and SIGHUP raise ``SystemExit``, so that files are finished and children ended; Python ignores none of both."""
    for asked in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, _exit)


def _exit(asked: int, frame: object) -> None:
    raise SystemExit(128 + asked)  # the exit code that shells give such an end
