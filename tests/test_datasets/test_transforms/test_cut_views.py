"""Views of all regions of a record; how masks are shifted is tested with ILVC, which does it too."""

import numpy as np
import pytest
import torch

from lira_plugin.datasets import CutViews
from lira_plugin.structures import region_view

SIZE = 16


def results(number, seed=0):
    pixels = np.random.default_rng(5).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    masks = np.zeros((number, 48, 64), bool)
    for place, mask in enumerate(masks):
        mask[15 + place : 30, 20 : 40 - 3 * place] = True
    return {"image": pixels, "masks": masks, "rng": np.random.default_rng(seed)}


def test_each_region_has_its_view_in_order():
    found = CutViews(size=SIZE)(results(3))
    expected = [region_view(found["image"], mask, SIZE) for mask in found["masks"]]
    assert found["view_tiles"].shape == (3, 3, SIZE, SIZE) and found["view_tiles"].dtype == torch.uint8
    assert np.array_equal(found["view_tiles"].permute(0, 2, 3, 1).numpy(), expected)


def test_without_regions_there_is_no_view():
    assert CutViews(size=SIZE)(results(0))["view_tiles"].shape == (0, 3, SIZE, SIZE)


@pytest.mark.parametrize("kind", ["shifted_view", "rough_view"])
def test_a_share_of_the_views_is_cut_from_another_mask(kind):
    right = CutViews(size=SIZE)(results(1))["view_tiles"]
    changed = [
        not torch.equal(CutViews(size=SIZE, **{kind: 0.3})(results(1, seed))["view_tiles"], right)
        for seed in range(400)
    ]
    assert abs(sum(changed) - 120) < 4 * (400 * 0.3 * 0.7) ** 0.5


def test_a_share_outside_of_0_to_1_is_an_error():
    with pytest.raises(ValueError, match=r"0\.\.1, .*shifted_view=1\.5"):
        CutViews(shifted_view=1.5)
    with pytest.raises(ValueError, match="sum"):
        CutViews(shifted_view=0.6, rough_view=0.6)
