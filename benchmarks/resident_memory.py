"""Resident memory of this process in MiB: now, and at most since :func:`forget_peak`. Linux only."""

import ctypes
import gc
from pathlib import Path


def forget_peak() -> None:
    """Begin a new peak, from what is in use: glibc keeps what was freed, and a rise would be lost in it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def current() -> float:
    """Resident memory now."""
    return _field("VmRSS")


def peak() -> float:
    """The highest since :func:`forget_peak`."""
    return _field("VmHWM")


def _field(name: str) -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) / 1024
