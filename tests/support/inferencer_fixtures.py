"""Fixtures of the tests that ask a tiny inferencer; a folder's ``conftest.py`` imports them."""

import pytest

from support.process_state import process_state_restored
from support.tiny_recipes import tiny_inferencer


@pytest.fixture(scope="module", autouse=True)
def leave_no_trace():
    with process_state_restored():
        yield


@pytest.fixture(scope="module")
def lira():
    return tiny_inferencer()
