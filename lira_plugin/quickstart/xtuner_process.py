"""xtuner in a process of its own, with a progress bar."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tqdm import tqdm

_ROW = re.compile(r"Iter\(\w+\) *\[ *(\d+)/(\d+)\](.*)")
"""A row of MMEngine's log: iteration, their number, and values."""
_VALUE = re.compile(r"\b(?:lr|loss): [-+.\de]+")


def run_xtuner(arguments: list[str], folder: Path, name: str) -> int:
    """Run xtuner in a process of its own with a progress bar; its output goes to a log file.

    Returns:
        The highest resident memory of the process, in MiB.

    Raises:
        RuntimeError: it failed; the message has the end of its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"xtuner_{arguments[0]}.log"
    module = f"xtuner.tools.{arguments[0]}"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments[1:]], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            peak = _follow(process, log, name)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        command = " ".join(["xtuner", *arguments])
        raise RuntimeError(f"`{command}` failed (whole output in {log}):\n{tail}")
    return peak


def _follow(process: subprocess.Popen, log: Path, name: str) -> int:
    """Show the iteration and loss that MMEngine logs until the process ends; return its highest resident memory in MiB."""
    with tqdm(desc=name, unit="it", disable=None) as bar:
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if rows := _ROW.findall(_end(log)):
                number, total, values = rows[-1]
                bar.n, bar.total = int(number), int(total)
                bar.set_postfix_str(", ".join(_VALUE.findall(values)), refresh=False)
            bar.refresh()
            if ended:
                process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_maxrss // (1 if sys.platform == "linux" else 1024) // 1024
            time.sleep(0.5)


def _end(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16384))
        return file.read().decode(errors="replace")
