"""What the environment says of processes to compile with; that none is started: ``integration/test_fresh_process.py``."""

import os

import pytest

from lira_plugin.compat.compile_pool import VARIABLE, start_when_needed


@pytest.mark.parametrize("given", ["0", "1"])
def test_what_the_environment_says_stays(monkeypatch, given):
    monkeypatch.setenv(VARIABLE, given)
    start_when_needed()
    assert os.environ[VARIABLE] == given
