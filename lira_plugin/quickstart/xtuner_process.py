"""xtuner in a process of its own, with a progress bar."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

from lira_plugin.end_signals import dies_with_parent

_ITERATION = re.compile(r"Iter\(\w+\) *\[ *(\d+)/(\d+)\](.*)")
"""A line of MMEngine's log: index of the iteration, how many there are, and values."""
_VALUE = re.compile(r"\b(?:lr|loss): [-+.\de]+")
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Lets glibc keep freed memory, which the next iteration asks for again (32 MiB is its largest threshold for mmap), and ask
for huge pages (from version 2.35 on, where Linux leaves that to programs)."""
_SECONDS_BETWEEN_LOOKS = 0.5
_LINES_SHOWN = 25
"""Of the output of a process that failed."""


def run_xtuner(arguments: list[str], folder: Path, name: str) -> int:
    """Run xtuner in a process of its own with a progress bar; its output goes to a log file.

    Args:
        arguments: tool and its arguments, such as ``["train", "config.py"]``.
        folder: where ``xtuner_<tool>.log`` is written.
        name: what the progress bar is called.

    Returns:
        The highest resident memory of the process, in MiB.

    Raises:
        RuntimeError: it failed; the message has the end of its output.
    """
    tool, *rest = arguments
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"xtuner_{tool}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", f"xtuner.tools.{tool}", *rest],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_MALLOC | os.environ,
            preexec_fn=dies_with_parent(),
        )
    try:
        peak = _follow(process, log, name)
    finally:
        if process.returncode is None:  # interrupted
            process.terminate()
            process.wait()
    if process.returncode:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-_LINES_SHOWN:])
        command = " ".join(["xtuner", *arguments])
        raise RuntimeError(f"`{command}` failed (whole output in {log}):\n{end}")
    return peak // (1 if sys.platform == "linux" else 1024) // 1024


def _follow(process: subprocess.Popen, log: Path, name: str) -> int:
    """Show the iteration and loss that MMEngine logs until the process ends; return its ``ru_maxrss``."""
    with tqdm(desc=name, unit="it", disable=None) as bar:
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if lines := _ITERATION.findall(_end(log)):
                done, total, values = lines[-1]
                bar.n, bar.total = int(done), int(total)
                bar.set_postfix_str(", ".join(_VALUE.findall(values)), refresh=False)
            bar.refresh()
            if ended:
                process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_maxrss
            time.sleep(_SECONDS_BETWEEN_LOOKS)


def _end(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16384))
        return file.read().decode(errors="replace")
