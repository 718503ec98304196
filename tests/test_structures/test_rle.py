"""Masks of runs: equal to pycocotools for every mask, and an error for every number that is none of a mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from lira_plugin.structures import decode_segmentation, encode_mask
from lira_plugin.structures.rle import decode_rle

HEIGHT, WIDTH = 5, 7
PIXELS = HEIGHT * WIDTH


def uncompressed(counts, size=(HEIGHT, WIDTH)):
    return {"size": list(size), "counts": counts}


def by_hand(counts):
    """The definition, pixel by pixel: runs down the columns, zeros first."""
    mask, position = np.zeros((HEIGHT, WIDTH), bool), 0
    for index, run in enumerate(counts):
        for _ in range(run):
            mask[position % HEIGHT, position // HEIGHT] = index % 2 == 1
            position += 1
    return mask


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([0, 0.02, 0.5, 0.98, 1]))
def test_compressed_masks_are_those_of_pycocotools(height, width, seed, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    np.testing.assert_array_equal(decode_rle(rle, height, width), coco_mask.decode(rle).astype(bool))
    np.testing.assert_array_equal(decode_rle(encode_mask(mask), height, width), mask)


@pytest.mark.parametrize(("height", "width"), [(2000, 3000), (1, 100_000), (100_000, 1)])
def test_runs_of_many_characters(height, width):
    mask = np.zeros((height, width), bool)
    mask[height // 3 :, width // 4 :] = True
    np.testing.assert_array_equal(decode_rle(encode_mask(mask), height, width), mask)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=20))
def test_uncompressed_masks_are_those_of_the_definition(runs):
    total = sum(runs)
    if total > PIXELS:
        with pytest.raises(ValueError, match=f"runs of the mask are of {total} pixels"):
            decode_rle(uncompressed(runs), HEIGHT, WIDTH)
        return
    whole = [*runs, PIXELS - total]
    np.testing.assert_array_equal(decode_rle(uncompressed(whole), HEIGHT, WIDTH), by_hand(whole))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([-5, PIXELS + 5], "run 0 of the mask is negative: -5"),
        ([0] * (PIXELS + 2), "37 runs, more than the image has pixels"),
        ([PIXELS - 1], "of 34 pixels, but the image has 5x7"),
        ([0.5, PIXELS - 0.5], r"run 0 of the mask must be a whole number of pixels, got 0\.5"),
        ([float("nan"), PIXELS], "run 0 .* got nan"),
        (["3", PIXELS - 3], "run 0 .* got '3'"),
        ([True, PIXELS - 1], "run 0 .* got True"),
        ([None, PIXELS], "run 0 .* got None"),
        ([2**70, PIXELS - 2**70], "run 0 .* whole number"),
        ([2**31, PIXELS - 2**31], "negative"),
        (None, "must be a list or a text, got None"),
        (7, "must be a list or a text, got 7"),
        ("", "cut off"),
        ("\x20\x21", "a character that compressed RLE does not have"),
        ("é", "a character that compressed RLE does not have"),
        ("o" * 30 + "0", "more characters than any image needs"),
    ],
)  # fmt: skip
def test_numbers_that_are_none_of_a_mask_are_an_error(counts, message):
    with pytest.raises(ValueError, match=message):
        decode_segmentation(uncompressed(counts), HEIGHT, WIDTH)


@pytest.mark.parametrize("size", [None, [5], "57", [5.0, 7], [5, "7"], [True, 7], [5, 7, 1]])
def test_a_size_that_is_none_is_an_error(size):
    with pytest.raises(ValueError, match=r"must be \[height, width\] in whole pixels"):
        decode_rle({"size": size, "counts": [PIXELS]}, HEIGHT, WIDTH)


@given(
    st.one_of(
        st.text(max_size=30), st.binary(max_size=30), st.text(alphabet=[chr(c) for c in range(48, 112)], max_size=12)
    )
)
def test_any_text_is_a_mask_or_an_error(counts):
    """Never a crash, memory without end, or a mask of other pixels."""
    try:
        mask = decode_rle(uncompressed(counts), HEIGHT, WIDTH)
    except ValueError:
        return
    assert mask.shape == (HEIGHT, WIDTH) and mask.dtype == bool
    given = counts.encode() if isinstance(counts, str) else counts
    np.testing.assert_array_equal(mask, coco_mask.decode({"size": [HEIGHT, WIDTH], "counts": given}).astype(bool))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None, "3", True, [1], 1e300])
def test_a_polygon_of_other_things_than_finite_numbers_is_an_error(value):
    """pycocotools grows without end over a NaN."""
    with pytest.raises(ValueError, match=r"must be a finite number, got|the polygon reaches"):
        decode_segmentation([[1, 1, 5, value, 3, 4]], HEIGHT, WIDTH)
