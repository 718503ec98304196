"""Exact and cheap resume, in small MMEngine trainings."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, LinearLR
from support.training_runs import BATCH, train

from lira_plugin.hooks import ResumableTrainLoop, SeedEachIterHook

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stop", [5, 10])
def test_a_resumed_training_goes_on_bit_by_bit(tmp_path, uninterrupted, stop):
    folder, losses, _ = uninterrupted
    resumed, _ = train(tmp_path, 12, folder / f"iter_{stop}.pth")
    assert sorted(losses) == list(range(12)) and len(set(losses.values())) == 12
    assert resumed == {iteration: losses[iteration] for iteration in range(stop, 12)}


def test_a_resumed_training_loads_only_what_is_new(tmp_path, uninterrupted):
    folder, _, draws = uninterrupted
    _, resumed = train(tmp_path, 12, folder / "iter_5.pth")
    assert [draw.draw_index for draw in draws] == list(range(12 * BATCH)), "five epochs of seven records"
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
    from lira_plugin.hooks import resume

    class Stub:
        seed, iter = 1, 5

    drawn = []
    for rank in range(4):
        monkeypatch.setattr(resume, "get_rank", lambda rank=rank: rank)
        monkeypatch.setattr(resume, "get_world_size", lambda: 4)
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


def test_an_epoch_is_as_many_iterations_as_it_takes(tmp_path):
    """Seven records in batches of three are three iterations; two epochs and a half are eight."""
    losses, draws = train(tmp_path / "a", max_iters=None, max_epochs=2.5)
    same, again = train(tmp_path / "b", max_iters=8)
    assert len(losses) == 8 and losses == same and draws == again


@pytest.mark.parametrize(("last", "warned"), [(4, True), (6, False), (9, False)])
def test_a_schedule_that_ends_before_the_training_is_warned_of(tmp_path, monkeypatch, last, warned):
    heard = []
    monkeypatch.setattr("lira_plugin.hooks.resume.print_log", lambda text, **kwargs: heard.append(text))
    schedules = [
        {"type": LinearLR, "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 2},
        {"type": CosineAnnealingLR, "by_epoch": False, "begin": 2, "end": last},
    ]
    train(tmp_path, max_iters=6, param_scheduler=schedules)
    assert ["end at iteration 4 of 6" in text for text in heard] == [True] * warned


@pytest.mark.parametrize("given", [{}, {"max_iters": 3, "max_epochs": 1}])
def test_iterations_or_epochs(given):
    with pytest.raises(ValueError, match="max_iters or max_epochs"):
        ResumableTrainLoop(SimpleNamespace(seed=0), {}, **given)
