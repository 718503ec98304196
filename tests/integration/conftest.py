"""Every test in this folder starts processes, trains, or reads whole recipes: none is in the fast tier."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    """Mark them; pytest hands this hook the tests of all folders."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
