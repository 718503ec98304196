"""Processes that have imported nothing of ours, of MMEngine, mmdet or xtuner: forks of one that has imported torch and its kin.

What it has imported knows no registry, and takes most of the time that a fresh interpreter needs.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KNOWN = (
    "torch", "torchvision", "timm", "accelerate", "datasets", "matplotlib.pyplot", "scipy.optimize",
    "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto",
)  # fmt: skip
UNKNOWN = (
    "lira_plugin",
    "mmengine",
    "mmcv",
    "mmdet",
    "xtuner",
    "deepspeed",
    "bitsandbytes",
    "torch._inductor.async_compile",
)
"""What none of the processes has imported."""


class HalfFresh:
    """Runs code, each piece in a process of its own."""

    def __init__(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._server = subprocess.Popen([sys.executable, __file__], cwd=ROOT, text=True, **pipes)

    def run(self, code: str) -> tuple[int, str, str]:
        """The exit code, standard output and standard error of Python code."""
        with tempfile.TemporaryDirectory() as folder:
            said = [Path(folder, name) for name in ("output", "errors")]
            asked = {"code": code, "said": list(map(str, said))}
            print(json.dumps(asked), file=self._server.stdin, flush=True)
            return int(self._server.stdout.readline()), *(path.read_text() for path in said)

    def close(self) -> None:
        """End the process that is forked."""
        self._server.stdin.close()
        self._server.wait()


def _serve() -> None:
    for name in KNOWN:
        importlib.import_module(name)
    assert not set(UNKNOWN) & set(sys.modules)
    sys.path[0] = os.getcwd()  # as with `python -c`
    for line in sys.stdin:
        child = os.fork()
        if not child:
            return _run(**json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(code: str, said: list[str]) -> None:
    for descriptor, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), descriptor)
    exec(code, {"__name__": "__main__"})


if __name__ == "__main__":
    _serve()
