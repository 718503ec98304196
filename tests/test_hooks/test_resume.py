"""Exact and cheap resume, in small MMEngine trainings."""

import math
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim import ConstantMomentum, CosineAnnealingLR, LinearLR, MultiStepLR, PolyLR
from support.training_runs import BATCH, train

from lira_plugin.datasets import ResumableSampler
from lira_plugin.hooks import CosineShareLR, LinearShareLR, ResumableTrainLoop, SeedEachIterHook

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


class Rates(Hook):
    """Keep the settings of the optimizer at every iteration."""

    def __init__(self):
        self.values = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        [group] = runner.optim_wrapper.param_groups
        self.values[runner.iter] = {
            name: group[name] for name in ("lr", "weight_decay", "betas", "eps") if name in group
        }


def rates_of(work_dir, iters, resume_from=None, **settings):
    rates = Rates()
    train(work_dir, iters, resume_from, hooks=(SeedEachIterHook, rates), **settings)
    return rates.values


SCHEDULES = {
    "shares": [
        {"type": LinearShareLR, "share": (0, 0.25), "start_factor": 0.01, "by_epoch": False},
        {"type": CosineShareLR, "share": (0.25, 1), "by_epoch": False},
    ],
    "cosine": [{"type": CosineAnnealingLR, "by_epoch": False, "eta_min": 1e-3}],
    "poly": [{"type": PolyLR, "power": 0.9, "by_epoch": False}],
    "steps": [{"type": MultiStepLR, "milestones": [3, 8], "by_epoch": False}],
    "momentum": [{"type": LinearLR, "by_epoch": False}, {"type": ConstantMomentum, "by_epoch": False, "factor": 0.5}],
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_lengthened_training_has_the_rates_of_one_planned_so_from_the_start(tmp_path, name):
    schedules = SCHEDULES[name]
    short = rates_of(tmp_path / "short", 8, param_scheduler=schedules)
    long = rates_of(tmp_path / "long", 20, param_scheduler=schedules)
    assert name == "steps" or short[7] != long[7], "the plan matters"
    assert rates_of(tmp_path / "same", 8, tmp_path / "short" / "iter_5.pth", param_scheduler=schedules) == {
        index: short[index] for index in range(5, 8)
    }
    rest = rates_of(tmp_path / "rest", 20, tmp_path / "short" / "iter_5.pth", param_scheduler=schedules)
    assert rest == {index: long[index] for index in range(5, 20)}, "bit by bit"


def test_the_rates_of_a_lengthened_training_are_those_of_the_formula(tmp_path):
    schedules = [{"type": CosineAnnealingLR, "by_epoch": False, "end": 8}]
    rates_of(tmp_path / "short", 8, param_scheduler=schedules)
    longer = [{**schedules[0], "end": 40}]
    rest = rates_of(tmp_path / "rest", 40, tmp_path / "short" / "iter_5.pth", param_scheduler=longer)
    for index in range(5, 40):
        assert rest[index]["lr"] == pytest.approx(0.05 * (1 + math.cos(math.pi * index / 40)) / 2, abs=1e-12)


@pytest.fixture
def told(monkeypatch):
    heard = []
    for module in ("resume", "resumed_plan", "data_stream"):
        monkeypatch.setattr(f"lira_plugin.hooks.{module}.print_log", lambda text, **kwargs: heard.append(text))
    return heard


@pytest.mark.parametrize("schedules", [None, SCHEDULES["cosine"]])
def test_settings_of_the_optimizer_take_effect_and_are_told(tmp_path, uninterrupted, told, schedules):
    folder, *_ = uninterrupted
    optimizer = {"type": torch.optim.AdamW, "lr": 0.01, "weight_decay": 0.3, "betas": (0.8, 0.9)}
    settings = {"optim_wrapper": {"optimizer": optimizer}, "param_scheduler": schedules}
    rest = rates_of(tmp_path / "rest", 12, folder / "iter_5.pth", **settings)
    new = rates_of(tmp_path / "new", 12, **settings)
    assert rest == {index: new[index] for index in range(5, 12)}
    [message] = [text for text in told if "changes the optimizer" in text]
    assert (
        "weight_decay 0.3 (the checkpoint has 0.01)" in message and "betas (0.8, 0.9)" in message and "lr " in message
    )


def test_without_a_change_nothing_is_told(tmp_path, uninterrupted, told):
    train(tmp_path, 12, uninterrupted[0] / "iter_5.pth")
    assert told == ["Resumed at iteration 5"]


def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path, uninterrupted):
    with pytest.raises(ValueError, match=r"not of SGD, the optimizer of this config.*dampening.*load_from"):
        train(
            tmp_path,
            12,
            uninterrupted[0] / "iter_5.pth",
            optim_wrapper={"optimizer": {"type": torch.optim.SGD, "lr": 0.1}},
        )


def test_with_other_batches_the_data_go_on_where_they_were(tmp_path, uninterrupted, told):
    """Five iterations of three are fifteen draws; two more of two, and then again three."""
    folder, *_ = uninterrupted
    _, draws = train(tmp_path / "two", 12, folder / "iter_5.pth", batch_size=2)
    assert [draw.draw_index for draw in draws[:4]] == [15, 16, 17, 18]
    assert any("batch_size 2 (the checkpoint has 3)" in text and "after the 15 draws" in text for text in told)
    _, draws = train(tmp_path / "three", 13, tmp_path / "two" / "iter_10.pth")
    assert draws[0].draw_index == 15 + 5 * 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 4}, r"randomness\.seed=4 changes nothing: 3 of the checkpoint stays"),
        (
            {"sampler": {"type": ResumableSampler, "seed": 9}},
            r"another order.*seed 9 \(the checkpoint has 3\).*twice or not",
        ),
        ({"sampler": {"type": ResumableSampler, "shuffle": False}}, r"another order.*shuffle False"),
    ],
)
def test_what_changes_the_data_or_does_not_is_told(tmp_path, uninterrupted, told, settings, message):
    train(tmp_path, 12, uninterrupted[0] / "iter_5.pth", **settings)
    assert any(re.search(message, text) for text in told), told


def test_a_training_with_nothing_left_to_do_says_so(tmp_path, uninterrupted, told):
    losses, _ = train(tmp_path, 10, uninterrupted[0] / "iter_10.pth")
    assert not losses and any("of iteration 10, and the training has 10: nothing is left" in text for text in told)


@pytest.mark.parametrize("given", [{"max_iters": 0}, {"max_iters": "3"}, {"max_iters": 2.5}, {"max_epochs": -1}])
def test_a_length_is_a_positive_number(given):
    [(name, value)] = given.items()
    with pytest.raises(ValueError, match=rf"{name} .*must be (positive|a whole number).*got {value!r}"):
        ResumableTrainLoop(SimpleNamespace(seed=0), {}, **given)
