"""Masks of many rows, made together."""

import numpy as np
import pytest
import torch

from lira_plugin.models.generation import Decoding
from lira_plugin.models.generation import image_masks as masks
from lira_plugin.models.generation.image_masks import image_masks
from lira_plugin.structures import Letterbox


@pytest.mark.parametrize("together", [1, 2 * 30 * 20, 2**24])
def test_masks_made_together_are_those_made_one_by_one(together, monkeypatch):
    monkeypatch.setattr(masks, "_PIXELS_TOGETHER", together)
    logits = 3 * torch.randn((7, 8, 8), generator=torch.Generator().manual_seed(0))
    logits[2] = -9  # empty
    letterboxes = [Letterbox(*size, 16) for size in [(30, 20)] * 5 + [(9, 40)] * 2]
    decodings = [Decoding(threshold=0.5 if n % 2 else 0.8, keep_logits=n in (1, 4)) for n in range(7)]
    made = image_masks(logits, letterboxes, decodings)
    for own, box, decoding, mask in zip(logits, letterboxes, decodings, made, strict=True):
        full = box.invert_logits(own[None])[0].double().numpy()
        probability = 1 / (1 + np.exp(-full))
        np.testing.assert_array_equal(mask.mask, probability > decoding.threshold)
        np.testing.assert_array_equal(mask.region, probability > 0.5)
        assert mask.score == pytest.approx(probability[mask.mask].mean() if mask.mask.any() else 0.0, abs=1e-6)
        if decoding.keep_logits:
            np.testing.assert_allclose(mask.logits, full, atol=1e-5)
        else:
            assert mask.logits is None


def test_no_masks():
    assert image_masks(torch.zeros(0, 8, 8), [], []) == []


def test_a_pixel_without_a_value_is_background_and_told_of(monkeypatch):
    heard = []
    monkeypatch.setattr(masks, "print_log", lambda text, **kwargs: heard.append(text))
    logits = torch.full((3, 8, 8), 2.0)
    logits[0] = torch.nan
    logits[1, :, :4] = torch.nan
    made = image_masks(logits, [Letterbox(16, 16, 16)] * 3, [Decoding()] * 3)
    assert [mask.score for mask in made] == pytest.approx([0.0, 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-2))])
    assert not made[0].mask.any() and made[2].mask.all()
    assert len(heard) == 1 and "2 of 3 masks hold NaN" in heard[0]
