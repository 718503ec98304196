"""Two processes share the tests (``-n 2`` in ``pyproject.toml``), so each of them, and what it starts, gets one thread."""

import atexit
import gc
import os
import shutil
import sys
import tempfile

import pytest
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
os.environ["LIRA_CACHE"] = tempfile.mkdtemp(prefix="lira-cache-")  # no test finds what another run has stored
atexit.register(shutil.rmtree, os.environ["LIRA_CACHE"], ignore_errors=True)
os.environ["TOKENIZERS_PARALLELISM"] = (
    "false"  # its threads do not outlive a fork, and the forked process waits for them
)
os.environ["TORCH_WARM_POOL"] = "0"  # see lira_plugin.compat.compile_pool: here also for `xtuner train`
# Dozens of processes import torch, mmdet and xtuner: compiled once, that takes 11 s instead of 19, also where containers
# say not to keep what was compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
settings.register_profile("reproducible", deadline=None, derandomize=True)  # no example fails for a slow machine
settings.load_profile("reproducible")


def pytest_collection_modifyitems(items):
    """Begin with the files that have slow tests, so that no process is left alone with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    """What has been imported stays: to look through it for garbage takes a third of a second, and DeepSpeed does so ten times."""
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def _restore_process_state():
    """A file of tests leaves no default scope, logger or visualizer to the next one in the process."""
    from support.process_state import process_state_restored  # torch, after the threads are set

    with process_state_restored():
        yield
