"""The progress bar, in small MMEngine trainings."""

import io
import sys

import pytest
import torch
from support.training_runs import train

from lira_plugin.hooks import ProgressBarHook


class Screen(io.StringIO):
    """Standard error as a terminal, or redirected to a file."""

    terminal = True

    def isatty(self):
        return self.terminal

    @classmethod
    def stand_in(cls, monkeypatch, terminal=True):
        """Not in a fixture: pytest puts its own stream back between a fixture and the test."""
        screen = cls()
        screen.terminal = terminal
        monkeypatch.setattr(sys, "stderr", screen)
        return screen


class Spy(ProgressBarHook):
    """A progress bar that remembers what it showed."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self.shown = [*getattr(self, "shown", []), (self._bar.n, self._bar.postfix)]


@pytest.mark.parametrize("first", [0, 5])
def test_the_progress_bar_counts_and_closes(tmp_path, uninterrupted, monkeypatch, capsys, first):
    screen = Screen.stand_in(monkeypatch)
    bar = Spy(description="stage one", every=2)
    train(tmp_path, 12, uninterrupted[0] / "iter_5.pth" if first else None, hooks=(bar,))
    assert [count for count, _ in bar.shown] == list(range(first + 1, 13))
    assert "loss=" in bar.shown[-1][1]
    assert bar._bar.disable, "closed"
    assert "stage one" in screen.getvalue() and "12/12" in screen.getvalue()
    assert "stage one" not in capsys.readouterr().out


def test_a_log_file_gets_no_bar(tmp_path, monkeypatch):
    screen = Screen.stand_in(monkeypatch, terminal=False)
    losses, _ = train(tmp_path, 2, hooks=(ProgressBarHook(description="stage one", every=1),))
    assert len(losses) == 2
    assert "stage one" not in screen.getvalue()


def test_other_ranks_show_no_bar(monkeypatch):
    from lira_plugin.hooks import progress

    screen = Screen.stand_in(monkeypatch)
    monkeypatch.setattr(progress, "is_main_process", lambda: False)
    bar = ProgressBarHook()
    bar.before_train(None)
    bar.after_train_iter(None, 0, outputs={"loss": torch.tensor(1.0)})
    bar.after_train(None)
    bar.before_test(None)
    bar.after_test_iter(None, 0)
    bar.after_test(None)
    assert screen.getvalue() == ""


def test_the_evaluation_has_a_bar(monkeypatch):
    screen = Screen.stand_in(monkeypatch)

    class Stub:
        test_dataloader = range(4)

    bar = ProgressBarHook()
    bar.before_test(Stub())
    for batch in range(4):
        bar.after_test_iter(Stub(), batch)
    bar.after_test(Stub())
    assert bar._bar.disable
    assert "4/4" in screen.getvalue()
