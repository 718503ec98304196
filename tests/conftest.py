"""Two processes share the tests (``-n 2`` in ``pyproject.toml``), so each of them, and what it starts, gets one thread."""

import gc
import os
import sys

from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
# Dozens of processes import torch, mmdet and xtuner: compiled once, that takes 11 s instead of 19, also where containers
# say not to keep what was compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
settings.register_profile("reproducible", deadline=None, derandomize=True)  # no example fails for a slow machine
settings.load_profile("reproducible")


def pytest_collection_modifyitems(items):
    """Begin with the files that have slow tests, so that no process is left alone with them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    """What has been imported stays: to look through it for garbage takes a third of a second, and DeepSpeed does so ten times."""
    gc.freeze()
