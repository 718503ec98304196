"""Rank correlations against scipy."""

import math

import numpy as np
import pytest
from scipy.stats import bootstrap, spearmanr

from lira_plugin.evaluation.rank_correlation import correlate, spearman


def pairs(count, strength, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    first = rng.normal(size=count)
    second = strength * first + rng.normal(size=count)
    return (first.round(), second.round()) if ties else (first, second)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("strength", [-2, 0, 0.5])
def test_rho_is_scipys(strength, ties):
    first, second = pairs(60, strength, ties=ties)
    assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)


def test_what_has_no_rank_order():
    assert (
        math.isnan(spearman([1, 1, 1], [1, 2, 3])) and math.isnan(spearman([1], [2])) and math.isnan(spearman([], []))
    )
    assert correlate([1, 1, 1], [1, 2, 3], "abc") is None
    assert correlate([1, 2, 3], [1, 2, 3], "aaa") is None, "one image says nothing of others"
    with pytest.raises(ValueError, match="2 and 3 values of 3 objects"):
        correlate([1, 2], [1, 2, 3], "abc")


def test_the_interval_is_scipys_where_each_image_has_one_object():
    first, second = pairs(80, 0.7)
    found = correlate(first, second, range(80), draws=2000)
    expected = bootstrap(
        (first, second),
        lambda one, other: spearmanr(one, other).statistic,
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        random_state=1,
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert found.low < found.rho < found.high


def test_objects_of_one_image_are_drawn_together():
    """Ten copies of each object say no more than one: the interval stays as wide."""
    first, second = pairs(30, 0.7)
    once = correlate(first, second, range(30))
    tenfold = correlate(np.repeat(first, 10), np.repeat(second, 10), np.repeat(range(30), 10))
    apart = correlate(np.repeat(first, 10), np.repeat(second, 10), range(300))
    assert tenfold.rho == pytest.approx(once.rho)
    assert tenfold.high - tenfold.low == pytest.approx(once.high - once.low, abs=0.03)
    assert apart.high - apart.low < 0.6 * (once.high - once.low)


def test_the_same_seed_gives_the_same_interval():
    first, second = pairs(30, 0.7)
    assert correlate(first, second, range(30), draws=50) == correlate(first, second, range(30), draws=50)
    assert correlate(first, second, range(30), draws=50) != correlate(first, second, range(30), draws=50, seed=1)
