"""Importing DeepSpeed starts no processes that wait for something to compile."""

import os
import subprocess
import sys

import pytest

from lira_plugin.compat.compile_pool import VARIABLE, start_when_needed

CHILDREN = """
import os, pathlib
import lira_plugin
import deepspeed
print("children", len(pathlib.Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells the children of a process")
def test_no_process_is_started_before_something_is_compiled():
    inherited = {name: value for name, value in os.environ.items() if name != VARIABLE}
    run = subprocess.run([sys.executable, "-c", CHILDREN], env=inherited, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip().splitlines()[-1] == "children 0"


@pytest.mark.parametrize("given", ["0", "1"])
def test_what_the_environment_says_stays(monkeypatch, given):
    monkeypatch.setenv(VARIABLE, given)
    start_when_needed()
    assert os.environ[VARIABLE] == given
