"""Runs xtuner's tools in forked processes: what takes half a minute to import is imported once, not once a stage.

The process that serves is sent a :class:`Request` at a time, and gives two answers: the number of the process that it has
started, and when that has ended its exit code and its highest resident memory in the units of ``ru_maxrss``.
"""

import os
import subprocess
import sys
from importlib import import_module
from multiprocessing.connection import Connection
from typing import NamedTuple


class Request(NamedTuple):
    """A tool of xtuner and its arguments, the file for its output, and the environment and folder to run it in."""

    tool: str
    arguments: list[str]
    log: str
    environment: dict[str, str]
    folder: str


def serve(descriptor: int) -> None:
    """Serve until the other end is closed.

    Args:
        descriptor: file of the connection.
    """
    connection = Connection(descriptor)
    while True:
        try:
            request: Request = connection.recv()
        except EOFError:
            return
        with open(request.log, "ab") as output:
            for stream in (1, 2):
                os.dup2(output.fileno(), stream)
        module = f"xtuner.tools.{request.tool}"
        tool = import_module(module)
        for name in ("models", "datasets", "evaluation", "hooks"):  # what the recipes import
            import_module(f"lira_plugin.{name}")
        if _has_accelerator():  # which a forked process could not use
            command = [sys.executable, "-m", module, *request.arguments]
            number = subprocess.Popen(command, env=request.environment, cwd=request.folder).pid
        elif not (number := os.fork()):
            os.chdir(request.folder)
            os.environ.clear()
            os.environ.update(request.environment)
            sys.argv = [module, *request.arguments]
            tool.main()
            return
        connection.send(number)
        _, status, usage = os.wait4(number, 0)
        connection.send((os.waitstatus_to_exitcode(status), usage.ru_maxrss))


def _has_accelerator() -> bool:
    from mmengine.device import get_device

    return get_device() != "cpu"
