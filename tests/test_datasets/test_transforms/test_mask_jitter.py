"""Rough outlines; how masks are shifted is tested with ILVC."""

import numpy as np
import pytest
from skimage.measure import label

from lira_plugin.datasets.transforms.mask_jitter import jitter_mask, roughen_mask


def disc(radius=20, shape=(96, 120), centre=(40, 60)):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def iou(first, second):
    return (first & second).sum() / (first | second).sum()


def test_a_rough_mask_keeps_the_object_and_bends_its_outline():
    mask = disc()
    rough = [roughen_mask(mask, np.random.default_rng(seed)) for seed in range(200)]
    overlaps = [iou(mask, other) for other in rough]
    assert all(other.shape == mask.shape and other.dtype == bool for other in rough)
    assert min(overlaps) > 0.3 and 0.6 < np.mean(overlaps) < 0.9, "as masks of a small model"
    largest = [np.bincount(label(other).ravel())[1:].max() / other.sum() for other in rough]
    assert np.mean(largest) > 0.95, "bumps, not noise"
    grown = np.mean([other.sum() > mask.sum() for other in rough])
    assert 0.3 < grown < 0.7, "outside as often as inside"


def test_roughness_grows_with_the_object():
    small, large = disc(8), disc(32)
    for seed in range(20):
        overlaps = [iou(mask, roughen_mask(mask, np.random.default_rng(seed))) for mask in (small, large)]
        assert abs(overlaps[0] - overlaps[1]) < 0.25


@pytest.mark.parametrize("mask", [np.zeros((20, 30), bool), np.eye(1, 600, 30, dtype=bool).reshape(20, 30)])
def test_nothing_and_a_pixel_are_never_lost(mask):
    for seed in range(20):
        assert roughen_mask(mask, np.random.default_rng(seed)).any() == mask.any()


def test_an_object_at_the_border_stays_inside():
    mask = disc(centre=(0, 0))
    for seed in range(20):
        assert iou(mask, roughen_mask(mask, np.random.default_rng(seed))) > 0.2


def test_the_shares_say_which_masks_change():
    mask, rng = disc(), np.random.default_rng(0)
    changed = [(jitter_mask(mask, rng.random(), 0.1, 0.3, rng) != mask).any() for _ in range(600)]
    assert abs(sum(changed) - 240) < 4 * (600 * 0.4 * 0.6) ** 0.5
    assert (
        jitter_mask(mask, 0.2, 0.1, 0.3, np.random.default_rng(1)) == roughen_mask(mask, np.random.default_rng(1))
    ).all()
