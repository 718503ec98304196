"""Two processes share the tests (``-n 2`` in ``pyproject.toml``), so each of them, and what it starts, gets one thread."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported


def pytest_collection_modifyitems(items):
    """Begin with the files that have slow tests, so that no process is left alone with them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
