"""xtuner in a process of its own, with a progress bar."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm


def run_xtuner(arguments: list[str], folder: Path, name: str) -> None:
    """Run xtuner in a process of its own with a progress bar; its output goes to a log file.

    Raises:
        RuntimeError: it failed; the message has the end of its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"xtuner_{arguments[0]}.log"
    module = f"xtuner.tools.{arguments[0]}"
    started = time.time()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments[1:]], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _follow(process, folder, name, started)
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        command = " ".join(["xtuner", *arguments])
        raise RuntimeError(f"`{command}` failed (whole output in {log}):\n{tail}")


def _follow(process: subprocess.Popen, folder: Path, name: str, started: float) -> None:
    """Show the iteration and loss that MMEngine logs until the process ends."""
    with tqdm(desc=name, bar_format="{desc}: {n_fmt} iterations, {elapsed}{postfix}", disable=None) as bar:
        while process.poll() is None:
            time.sleep(0.5)
            rows = [row for row in _scalars(folder, newer_than=started) if "iter" in row]
            if rows:
                bar.n = rows[-1]["iter"]
                bar.set_postfix(
                    {key: f"{rows[-1][key]:.3g}" for key in ("loss", "lr") if key in rows[-1]}, refresh=False
                )
            bar.refresh()


def _scalars(folder: Path, newer_than: float) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*/vis_data/scalars.json")):
        if path.stat().st_mtime >= newer_than:
            for line in path.read_text().splitlines():
                if line.endswith("}"):
                    yield json.loads(line)
