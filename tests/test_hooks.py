"""Exact and cheap resume, and the progress bar, in small MMEngine trainings."""

import io
import sys
from pathlib import Path

import pytest
import torch
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import Dataset

from lira_plugin.datasets import Draw, ResumableSampler
from lira_plugin.hooks import ProgressBarHook, ResumableTrainLoop, SeedEachIterHook

torch.set_num_threads(1)
RECORDS, BATCH = 7, 3


class Numbers(Dataset):
    """Keeps what is asked of it; what a draw holds depends on its number too, as with our data sets."""

    def __init__(self, draws):
        self.draws = draws

    def __deepcopy__(self, memo):
        return self  # the runner copies its configs, and what is in them

    def __len__(self):
        return RECORDS

    def __getitem__(self, draw):
        self.draws.append(draw)
        assert isinstance(draw, Draw)
        return {"value": torch.tensor([float(draw.index), float(draw.number % 5)])}


class Model(BaseModel):
    """Its loss depends on the data, the weights, and on what dropout and noise draw."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1))

    def forward(self, value, mode="tensor"):
        noise = torch.rand_like(value)
        return {"loss": (self.layers(value + noise) ** 2).mean()}


class Losses(Hook):
    """Keep the loss of every iteration."""

    def __init__(self):
        self.values = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.values[runner.iter] = float(outputs["loss"])


def train(work_dir, max_iters, resume_from=None, seed=3, hooks=(SeedEachIterHook,), **settings):
    """Train; return the losses by iteration and the draws that were loaded."""
    torch.manual_seed(99 if resume_from is None else 11)  # no help from the state that a process happens to be in
    draws, losses = [], Losses()
    runner = Runner(
        model=Model(),
        experiment_name=Path(work_dir).as_posix() + str(resume_from),
        work_dir=str(work_dir),
        train_dataloader=dict(
            **{"num_workers": 0, "sampler": {"type": ResumableSampler}, **settings},
            dataset=Numbers(draws),
            batch_size=BATCH,
            collate_fn={"type": "default_collate"},
        ),
        train_cfg={"type": ResumableTrainLoop, "max_iters": max_iters},
        optim_wrapper={"type": OptimWrapper, "optimizer": {"type": torch.optim.AdamW, "lr": 0.05}},
        default_hooks={
            "logger": None,
            "timer": None,
            "checkpoint": {"type": CheckpointHook, "by_epoch": False, "interval": 5, "save_last": False},
        },
        custom_hooks=[losses, *[{"type": hook} if isinstance(hook, type) else hook for hook in hooks]],
        load_from=None if resume_from is None else str(resume_from),
        resume=resume_from is not None,
        randomness={"seed": seed},
        default_scope="lira_plugin",
        log_level="ERROR",
    )
    runner.train()
    return losses.values, draws


@pytest.fixture(scope="module", autouse=True)
def leave_no_trace():
    """A runner sets the default scope, logger and so on of the whole process; other tests are to start without."""
    managers = (DefaultScope, MMLogger, MessageHub, Visualizer)
    before = [manager._instance_dict.copy() for manager in managers]
    yield
    for manager, instances in zip(managers, before):
        manager._instance_dict.clear()
        manager._instance_dict.update(instances)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    losses, draws = train(folder, 12)
    return folder, losses, draws


@pytest.mark.parametrize("stop", [5, 10])
def test_a_resumed_training_goes_on_bit_by_bit(tmp_path, uninterrupted, stop):
    folder, losses, _ = uninterrupted
    resumed, _ = train(tmp_path, 12, folder / f"iter_{stop}.pth")
    assert sorted(losses) == list(range(12)) and len(set(losses.values())) == 12
    assert resumed == {iteration: losses[iteration] for iteration in range(stop, 12)}


def test_a_resumed_training_loads_only_what_is_new(tmp_path, uninterrupted):
    folder, _, draws = uninterrupted
    _, resumed = train(tmp_path, 12, folder / "iter_5.pth")
    assert [draw.number for draw in draws] == list(range(12 * BATCH)), "five epochs of seven records"
    assert resumed == draws[5 * BATCH :], "not one record of the first five iterations"


def test_the_seed_hook_is_what_makes_it_exact(tmp_path, uninterrupted):
    """Otherwise the test above would prove nothing: without it dropout draws anew."""
    first, _ = train(tmp_path / "a", 12, hooks=())
    resumed, _ = train(tmp_path / "b", 12, tmp_path / "a" / "iter_5.pth", hooks=())
    assert resumed[5] != first[5]


def test_each_iteration_and_seed_draws_its_own():
    class Stub:
        def __init__(self, seed, iteration):
            self.seed, self.iter = seed, iteration

    def draw(seed, iteration):
        SeedEachIterHook().before_train_iter(Stub(seed, iteration), 0)
        return torch.rand(4).tolist()

    assert draw(1, 5) == draw(1, 5)
    assert draw(None, 5) == draw(0, 5)
    everything = [draw(seed, iteration) for seed in (0, 1, 2**32 - 1) for iteration in (0, 1, 100_000)]
    assert len({tuple(values) for values in everything}) == len(everything)


def test_ranks_draw_differently(monkeypatch):
    from lira_plugin import hooks

    class Stub:
        seed, iter = 1, 5

    drawn = []
    for rank in range(4):
        monkeypatch.setattr(hooks, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(hooks, "get_world_size", lambda: 4)
        for Stub.iter in range(3):
            SeedEachIterHook().before_train_iter(Stub(), 0)
            drawn.append(torch.rand(1).item())
    assert len(set(drawn)) == 12


def test_without_a_seed_the_data_of_a_resumed_training_go_on_all_the_same(tmp_path):
    """MMEngine then takes a random seed, stores it, and restores it on resume: the sampler must follow."""
    losses, draws = train(tmp_path / "a", 8, seed=None)
    resumed, resumed_draws = train(tmp_path / "b", 8, tmp_path / "a" / "iter_5.pth", seed=None)
    assert resumed_draws == draws[5 * BATCH :]
    assert resumed == {iteration: losses[iteration] for iteration in range(5, 8)}


def test_a_sampler_that_cannot_skip_is_refused_on_resume(tmp_path, uninterrupted):
    from mmengine.dataset import InfiniteSampler

    with pytest.raises(
        TypeError, match=r"InfiniteSampler cannot skip.*lira_plugin\.ResumableSampler.*train_dataloader"
    ):
        train(tmp_path, 12, uninterrupted[0] / "iter_5.pth", sampler={"type": InfiniteSampler})


def test_workers_begin_at_the_right_place_too(tmp_path, uninterrupted):
    folder, losses, _ = uninterrupted
    resumed, _ = train(tmp_path, 12, folder / "iter_10.pth", num_workers=1, persistent_workers=True)
    assert resumed == {iteration: losses[iteration] for iteration in (10, 11)}


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
    from lira_plugin import hooks

    screen = Screen.stand_in(monkeypatch)
    monkeypatch.setattr(hooks, "is_main_process", lambda: False)
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
