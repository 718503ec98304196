"""Spearman's rank correlation, with an interval by drawing images with replacement."""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np


class Correlation(NamedTuple):
    """A rank correlation.

    Args:
        rho: between -1 and 1.
        low, high: in 95 of 100 draws of the images it lies between them.
    """

    rho: float
    low: float
    high: float


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rho of pairs, in which ties have their mean rank.

    Returns:
        NaN where one side is the same for all, or there are under two pairs.
    """
    if len(first) < 2:
        return math.nan
    return _rho(_order(first), _order(second), np.ones(len(first)))


def correlate(
    first: Sequence[float], second: Sequence[float], images: Sequence[Hashable], draws: int = 2000, seed: int = 0
) -> Correlation | None:
    """Spearman's rho with its bootstrap interval.

    Objects of one image are alike, so whole images are drawn: an interval over objects would be too narrow.

    Args:
        first, second: of each object.
        images: names the image of each.
        draws: of the bootstrap.
        seed: of the draws.

    Returns:
        None where there is no correlation: one side is the same for all objects, or all are of one image.

    Raises:
        ValueError: the lengths differ.
    """
    if not len(first) == len(second) == len(images):
        raise ValueError(f"there are {len(first)} and {len(second)} values of {len(images)} objects: give one of each")
    names = {image: index for index, image in enumerate(dict.fromkeys(images))}
    owner = np.array([names[image] for image in images])
    rho, count = spearman(first, second), len(names)
    if math.isnan(rho) or count < 2:
        return None
    orders = _order(first), _order(second)
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(draws):
        times = np.bincount(rng.integers(count, size=count), minlength=count)
        drawn.append(_rho(*orders, times[owner].astype(float)))
    drawn = [value for value in drawn if not math.isnan(value)]
    low, high = np.quantile(drawn, (0.025, 0.975)) if drawn else (rho, rho)
    return Correlation(rho, float(low), float(high))


def _order(values: Sequence[float]) -> np.ndarray:
    """(n,) index of each value among the different ones in ascending order."""
    return np.unique(np.asarray(values, float), return_inverse=True)[1]


def _rho(first: np.ndarray, second: np.ndarray, times: np.ndarray) -> float:
    """Spearman's rho of pairs that are there ``times`` (n,) times each; ranks are those among all copies."""
    total = times.sum()
    one, other = (_ranks(order, times) - (total + 1) / 2 for order in (first, second))
    scale = math.sqrt((times @ one**2) * (times @ other**2))
    return float(times @ (one * other)) / scale if scale > 0 else math.nan


def _ranks(order: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n,) mean rank of the copies of each value."""
    counts = np.bincount(order, weights=times)
    return (counts.cumsum() - (counts - 1) / 2)[order]
