"""Every test in this folder starts processes, trains, or reads whole recipes: none is in the fast tier."""

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    """Mark them; pytest hands this hook the tests of all folders."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True, scope="module")
def _unformatted_configs():
    """A runner writes its config into the work dir; to lay the text out takes seconds."""
    from support.tiny_recipes import unformatted_configs  # torch, after the threads are set

    with unformatted_configs():
        yield


@pytest.fixture(scope="session")
def briefly_trained(tmp_path_factory):
    """A tiny model that the fast recipe has trained for two iterations a stage; all processes of the tests share it."""
    return _trained(tmp_path_factory, "FAST")


@pytest.fixture(scope="session")
def briefly_trained_in_full(tmp_path_factory):
    """The same of the full recipe."""
    return _trained(tmp_path_factory, "FULL")


def _trained(tmp_path_factory, family):
    from support.brief_training import train_briefly

    from lira_plugin import quickstart

    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    return train_briefly(shared / f"briefly_trained_{family}", getattr(quickstart, family))
