"""Calibrated presence against loops and known answers."""

import math

import numpy as np
import pytest

from lira_plugin.evaluation.presence import best_threshold, calibrate, matthews, sweep


def by_loop(verdicts, truth) -> float:
    """Matthews' coefficient as the correlation of two lists of 0 and 1."""
    count = len(truth)
    mean_v, mean_t = sum(verdicts) / count, sum(truth) / count
    both = sum((v - mean_v) * (t - mean_t) for v, t in zip(verdicts, truth))
    spread = math.sqrt(sum((v - mean_v) ** 2 for v in verdicts) * sum((t - mean_t) ** 2 for t in truth))
    return both / spread if spread else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_matthews_is_the_correlation(seed):
    rng = np.random.default_rng(seed)
    truth = (rng.random(30) < 0.6).tolist()
    for verdicts in ((rng.random(30) < 0.5).tolist(), truth, [not value for value in truth], [True] * 30, [False] * 30):
        assert matthews(verdicts, truth) == pytest.approx(by_loop(verdicts, truth), abs=1e-12)


def test_a_sweep_counts_from_the_threshold_on():
    first, second = sweep([0.1, 0.4, 0.4, 0.9], [False, False, True, True], [0.4, 0.5])
    assert (first.threshold, first.n_acc, first.t_acc) == (0.4, 0.5, 1)
    assert (second.n_acc, second.t_acc) == (1, 0.5)
    with pytest.raises(ValueError, match="with and without"):
        sweep([0.1], [True], [0.5])


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_better_than_the_chosen_one(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random(40) < 0.5
    values = np.round(np.clip(rng.normal(np.where(truth, 0.6, 0.4), 0.2), 0, 1), 1)
    chosen = by_loop((values >= best_threshold(values, truth)).tolist(), truth.tolist())
    assert chosen >= max(by_loop((values >= step / 200).tolist(), truth.tolist()) for step in range(1, 200)) - 1e-12


def test_two_signals_tell_more_than_one_and_nothing_is_judged_by_itself():
    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.5
    first, second = (1 / (1 + np.exp(-rng.normal(np.where(truth, 1, -1), 1.5))) for _ in range(2))
    alone, both = calibrate(first[:, None], truth), calibrate(np.stack([first, second], 1), truth)
    assert matthews(both.is_present, truth) > matthews(alone.is_present, truth) > 0.3
    # probabilities say how often they are right
    likely = np.array(both.probabilities) > 0.8
    assert abs(truth[likely].mean() - np.array(both.probabilities)[likely].mean()) < 0.1
    noise = calibrate(rng.random((400, 1)), truth)
    assert abs(matthews(noise.is_present, truth)) < 0.15  # fitted to itself it would always be positive


def test_signals_of_every_kind_are_taken():
    assert calibrate([[0.5]] * 3, [True, False, False]) is None
    assert calibrate([[0.5]] * 3, [True] * 3) is None
    certain = calibrate([[1.0], [0.0]] * 4, [True, False] * 4)
    assert list(certain.is_present) == [True, False] * 4
    constant = calibrate([[0.0]] * 4, [True, False] * 2)
    assert all(math.isfinite(value) for value in constant.probabilities)
