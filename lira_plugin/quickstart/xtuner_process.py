"""xtuner in a process of its own, with a progress bar."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from tqdm import tqdm

from lira_plugin.quickstart.xtuner_server import Request

_ROW = re.compile(r"Iter\(\w+\) *\[ *(\d+)/(\d+)\](.*)")
"""A row of MMEngine's log: iteration, their number, and values."""
_VALUE = re.compile(r"\b(?:lr|loss): [-+.\de]+")
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Lets glibc, whose largest threshold for mmap is 32 MiB, keep freed memory, which an iteration asks for again, and ask for huge
pages (from version 2.35 on, where Linux leaves that to programs)."""
_SERVE = "import sys; from lira_plugin.quickstart.xtuner_server import serve; serve(int(sys.argv[1]))"


def run_xtuner(arguments: list[str], folder: Path, name: str) -> int:
    """Run xtuner in a process of its own with a progress bar; its output goes to a log file.

    The first call starts a server for all (:mod:`lira_plugin.quickstart.xtuner_server`), until :func:`stop_server`.

    Returns:
        The highest resident memory of the process, in MiB.

    Raises:
        RuntimeError: it failed; the message has the end of its output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"xtuner_{arguments[0]}.log"
    log.write_text("")
    connection, started = _server().connection, None
    try:
        connection.send(Request(arguments[0], arguments[1:], str(log), dict(os.environ), os.getcwd()))
        started = connection.recv()
        code, peak = _follow(connection, log, name)
    except BaseException as error:
        if started is not None:
            with suppress(ProcessLookupError):
                os.kill(started, signal.SIGTERM)
        stop_server()
        if not isinstance(error, EOFError | ConnectionError):
            raise
        code, peak = 1, 0  # the server has ended: it could not import the tool, or was killed
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        command = " ".join(["xtuner", *arguments])
        raise RuntimeError(f"`{command}` failed (whole output in {log}):\n{tail}")
    return peak // (1 if sys.platform == "linux" else 1024) // 1024


@dataclass(frozen=True)
class _Server:
    process: subprocess.Popen
    connection: Connection


@lru_cache(1)
def _server() -> _Server:
    """The process that starts the others; it ends with this one, too."""
    ours, theirs = Pipe()
    with theirs:
        command = [sys.executable, "-c", _SERVE, str(theirs.fileno())]
        environment = _MALLOC | os.environ
        return _Server(subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment), ours)


def stop_server() -> None:
    """End the process that starts the others, if there is one."""
    if _server.cache_info().currsize:
        server = _server()
        _server.cache_clear()
        server.connection.close()
        server.process.terminate()
        server.process.wait()


def _follow(connection: Connection, log: Path, name: str) -> tuple[int, int]:
    """Show the iteration and loss that MMEngine logs until the process ends; return what is said of its end."""
    with tqdm(desc=name, unit="it", disable=None) as bar:
        while True:
            ended = connection.poll(0.5)
            if rows := _ROW.findall(_end(log)):
                number, total, values = rows[-1]
                bar.n, bar.total = int(number), int(total)
                bar.set_postfix_str(", ".join(_VALUE.findall(values)), refresh=False)
            bar.refresh()
            if ended:
                return connection.recv()


def _end(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16384))
        return file.read().decode(errors="replace")
