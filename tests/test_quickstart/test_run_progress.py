"""What a quickstart shows while it runs."""

import io

import pytest

from lira_plugin.quickstart import run_progress
from lira_plugin.quickstart.forked_jobs import LogEnd
from lira_plugin.quickstart.run_progress import RunProgress, Step

STEPS = [Step("scenes", 20), Step("segmenter and semantic", 60), Step("finetune", 100), Step("evaluate", 20)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """The seconds that have passed, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(run_progress.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(run_progress, "print_log", lambda message, logger: lines.append(message))
    return lines


def test_each_step_is_a_line_where_there_is_no_terminal(clock, said):
    progress = RunProgress(STEPS)
    for step in STEPS:
        progress.begin()
        clock[0] += step.seconds
    progress.end()
    assert said == [
        "stage 1 of 4, scenes: about 3:20 left",
        "stage 2 of 4, segmenter and semantic: about 3:00 left",
        "stage 3 of 4, finetune: about 2:00 left",
        "stage 4 of 4, evaluate: about 0:20 left",
    ]


def test_the_time_left_follows_the_machine(clock, said):
    """One that takes three times as long is found out in the course of the run."""
    progress, guesses = RunProgress(STEPS), []
    for step in STEPS:
        progress.begin()
        for share in (0.0, 0.5):
            guesses.append(progress.left(share))
            clock[0] += 1.5 * step.seconds
    true = [600, 570, 540, 450, 360, 210, 60, 30]
    assert guesses[0] == pytest.approx(200)
    assert all(0.33 * left <= guess <= 1.01 * left for guess, left in zip(guesses, true))
    assert all(0.85 * left <= guess for guess, left in zip(guesses[3:], true[3:]))


def test_the_bar_shows_the_slowest_of_those_side_by_side_and_the_latest_score(clock, said, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    progress = RunProgress(STEPS)
    progress.begin(has_bar=False)
    progress.begin()
    progress.show([LogEnd(50, 100, "loss: 3"), LogEnd(90, 100, "loss: 4"), LogEnd()])
    shown = terminal.getvalue().split("\r")[-1]
    assert "stage 2 of 4, segmenter and semantic:  50 %" in shown and "50/100" in shown and "loss: 3" in shown
    progress.begin()
    progress.show([LogEnd(30, 100, "loss: 2", 0.625)])
    progress.show([LogEnd(40, 100, "loss: 2")])
    shown = terminal.getvalue().split("\r")[-1]
    assert "stage 3 of 4, finetune:  40 %" in shown
    assert "left, so far it points right in 6.2 of 10 cases, loss: 2" in shown
    progress.end()
    assert said == ["stage 1 of 4, scenes: about 3:20 left"]
