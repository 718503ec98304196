"""Schedules in shares of the training, against MMEngine's own and the plain formula."""

import math

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from support.paths import config_path
from support.training_runs import train

from lira_plugin.hooks import CosineShareLR, LinearShareLR
from lira_plugin.hooks.schedules import check_schedules


def rates(iters, rate, make):
    """The rate of each iteration."""
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    wrapper = OptimWrapper(optimizer)
    schedulers = make(wrapper)
    found = []
    for _ in range(iters):
        found.append(optimizer.param_groups[0]["lr"])
        for scheduler in schedulers:
            scheduler.step()
    return found


def in_shares(iters, rate, configs):
    def make(wrapper):
        return [
            config["type"](wrapper, **{key: value for key, value in config.items() if key != "type"}, end=iters)
            for config in configs
        ]

    return rates(iters, rate, make)


def built(config):
    """Schedulers of a recipe as plain dictionaries."""
    kinds = {"LinearShareLR": LinearShareLR, "CosineShareLR": CosineShareLR}
    plain = [dict(scheduler) for scheduler in config.param_scheduler]
    return [{**item, "type": kinds[getattr(item["type"], "__name__", str(item["type"]))]} for item in plain]


@pytest.mark.parametrize("iters", [67, 100, 700, 1201, 23_456])
def test_the_papers_rates_are_those_of_one_epoch_with_a_warm_up_of_3_percent(iters):
    """MMEngine's schedules by epoch, converted, are what the recipes had before they were in shares."""
    schedulers = built(Config.fromfile(config_path("lira_2b")))

    def plain(wrapper):
        settings = {"by_epoch": True, "epoch_length": iters}
        return [
            LinearLR.build_iter_from_epoch(wrapper, start_factor=1e-5, begin=0, end=0.03, **settings),
            CosineAnnealingLR.build_iter_from_epoch(wrapper, eta_min=0.0, begin=0.03, end=1, **settings),
        ]

    found = in_shares(iters, 2e-5, schedulers)
    assert found == rates(iters, 2e-5, plain), "bit by bit"
    warm = int(0.03 * iters)
    for index, rate in enumerate(found):
        if index < warm:
            expected = 2e-5 * (1e-5 + (1 - 1e-5) * index / (warm - 1))
        else:
            expected = 1e-5 * (1 + math.cos(math.pi * (index - warm) / (iters - warm)))
        assert rate == pytest.approx(expected, rel=1e-6, abs=1e-13)


@pytest.mark.parametrize(
    ("name", "iters", "warmup"),
    [
        ("lira_tiny", 900, 100),
        ("lira_tiny_pretrain", 400, 100),
        ("lira_tiny_segmenter", 760, 100),
        ("lira_tiny_semantic", 500, 50),
        ("lira_tiny_lora", 900, 100),
    ],
)
def test_the_tiny_rates_are_those_of_their_iterations(name, iters, warmup):
    config = Config.fromfile(config_path(name))
    assert config.train_cfg.max_iters == iters

    def plain(wrapper):
        return [
            LinearLR(wrapper, start_factor=0.04, by_epoch=False, begin=0, end=warmup),
            CosineAnnealingLR(wrapper, eta_min_ratio=0.01, by_epoch=False, begin=warmup, end=iters),
        ]

    rate = config.optim_wrapper.optimizer.lr
    assert in_shares(iters, rate, built(config)) == rates(iters, rate, plain)


@pytest.mark.parametrize("name", ["lira_2b", "lira_2b_pretrain", "lira_tiny", "lira_tiny_semantic"])
@pytest.mark.parametrize("iters", [1, 2, 3, 34, 50, 66])
def test_any_length_has_its_schedule(name, iters):
    """Above all one whose warm-up has no iteration or one, which would freeze the rate at its start."""
    found = in_shares(iters, 1.0, built(Config.fromfile(config_path(name))))
    assert max(found) == pytest.approx(1.0, rel=1e-6) and all(math.isfinite(rate) for rate in found)
    assert iters < 34 or found[-1] < 0.1


@pytest.mark.slow
def test_a_training_of_three_iterations_needs_no_other_setting(tmp_path):
    schedules = [
        {"type": LinearShareLR, "share": (0, 0.03), "start_factor": 1e-5, "by_epoch": False},
        {"type": "lira_plugin.CosineShareLR", "share": (0.03, 1), "by_epoch": False},
    ]
    losses, _ = train(tmp_path, 3, param_scheduler=schedules)
    assert len(losses) == 3


@pytest.mark.parametrize("share", [(0.5, 0.1), (0, 1.5), (-0.1, 1), 0.5, "0,1", (0, 1, 1), ("0", "1"), None])
def test_a_share_is_part_of_the_training(share):
    with pytest.raises(ValueError, match=r"share of LinearShareLR must be \(first, last\)"):
        LinearShareLR(OptimWrapper(torch.optim.SGD([torch.zeros(1)], lr=1.0)), share=share, end=10, by_epoch=False)


@pytest.mark.parametrize("given", [{}, {"by_epoch": True}, {"by_epoch": False, "begin": 3}])
def test_a_share_is_not_of_epochs(given):
    with pytest.raises(TypeError, match=r"give share=\(first, last\) and by_epoch=False alone"):
        CosineShareLR(OptimWrapper(torch.optim.SGD([torch.zeros(1)], lr=1.0)), share=(0, 1), end=10, **given)


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        (
            {"by_epoch": False, "begin": 100},
            r"param_scheduler\.0 begins at iteration 100 and ends at 3, in a training of 3",
        ),
        ({"by_epoch": False, "begin": 5, "end": 5}, r"begins at iteration 5 and ends at 5.*LinearShareLR"),
        ({"by_epoch": True, "end": 0.03, "convert_to_iter_based": True}, r"begins at iteration 0 and ends at 0"),
        (
            {"by_epoch": False, "share": (0, 1), "end": 9},
            r"param_scheduler\.0\.end=9 does not go with share.*leave 'end' out",
        ),
    ],
)
def test_a_schedule_that_does_not_fit_says_what_to_set(scheduler, message):
    for form in (scheduler, [scheduler]):
        with pytest.raises(ValueError, match=message):
            check_schedules(form | {"type": LinearLR} if isinstance(form, dict) else form, 3, 10)


def test_schedules_that_fit_pass():
    check_schedules(None, 3, 10)
    check_schedules({"generator": [{"type": LinearLR, "begin": 0, "end": 1}]}, 3, 10)
    check_schedules([{"type": LinearLR, "by_epoch": False, "share": (0, 1), "end": 3}], 3, 10)
    check_schedules([{"type": LinearLR, "end": 0.5, "convert_to_iter_based": True}], 3, 10)
