import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lira_plugin.structures import decode_segmentation, decode_union, encode_mask

HEIGHT, WIDTH = 24, 37
SQUARE = [2, 3, 12, 3, 12, 15, 2, 15]
OVERLAPPING = [8.0, 9.0, 30.5, 9.0, 30.5, 20.0, 8.0, 20.0]
TRIANGLE = [25, 1, 35, 1, 30, 8]


def blob(seed):
    return np.random.default_rng(seed).random((HEIGHT, WIDTH)) < 0.3


def uncompressed(mask):
    """COCO's uncompressed RLE, by hand: run lengths down the columns, zeros first."""
    counts, value, run = [], 0, 0
    for pixel in mask.T.reshape(-1):
        if pixel != value:
            counts.append(run)
            value, run = pixel, 0
        run += 1
    return {"size": list(mask.shape), "counts": [*counts, run]}


def reference(polygons):
    union = np.zeros((HEIGHT, WIDTH), bool)
    for rle in coco_mask.frPyObjects(polygons, HEIGHT, WIDTH):
        union |= coco_mask.decode(rle).astype(bool)
    return union


@pytest.mark.parametrize(
    "polygons", [[SQUARE], [SQUARE, OVERLAPPING], [SQUARE, OVERLAPPING, TRIANGLE]], ids=["one", "overlap", "three"]
)
def test_polygons_are_united(polygons):
    decoded = decode_segmentation(polygons, HEIGHT, WIDTH)
    assert decoded.shape == (HEIGHT, WIDTH)
    assert decoded.dtype == bool
    assert decoded.any()
    np.testing.assert_array_equal(decoded, reference(polygons))


def test_a_polygon_need_not_be_in_a_list():
    np.testing.assert_array_equal(decode_segmentation(SQUARE, HEIGHT, WIDTH), reference([SQUARE]))


def test_compressed_rle_with_text_or_bytes():
    mask = blob(0)
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    np.testing.assert_array_equal(decode_segmentation(rle, HEIGHT, WIDTH), mask)
    rle = {**rle, "counts": rle["counts"].decode()}
    np.testing.assert_array_equal(decode_segmentation(rle, HEIGHT, WIDTH), mask)


def test_uncompressed_rle():
    mask = blob(1)
    np.testing.assert_array_equal(decode_segmentation(uncompressed(mask), HEIGHT, WIDTH), mask)


def test_lists_of_rle_are_united():
    first, second = blob(2), blob(3)
    parts = [uncompressed(first), encode_mask(second)]
    np.testing.assert_array_equal(decode_segmentation(parts, HEIGHT, WIDTH), first | second)


@pytest.mark.parametrize("empty", [[], (), None, {}])
def test_nothing_decodes_to_an_empty_mask(empty):
    decoded = decode_segmentation(empty, HEIGHT, WIDTH)
    assert decoded.shape == (HEIGHT, WIDTH)
    assert decoded.dtype == bool
    assert not decoded.any()


def test_union_over_annotations_of_different_form():
    mask = blob(4)
    union = decode_union([[SQUARE], uncompressed(mask), []], HEIGHT, WIDTH)
    np.testing.assert_array_equal(union, mask | reference([SQUARE]))
    assert union.dtype == bool
    assert not decode_union([], HEIGHT, WIDTH).any()


def test_encoding_survives_json():
    mask = blob(5)
    rle = json.loads(json.dumps(encode_mask(mask)))
    assert rle["size"] == [HEIGHT, WIDTH]
    np.testing.assert_array_equal(decode_segmentation(rle, HEIGHT, WIDTH), mask)


@pytest.mark.parametrize("form", [uncompressed, encode_mask])
def test_rle_of_another_size_is_an_error(form):
    with pytest.raises(ValueError, match="24x37 but the image is 37x24"):
        decode_segmentation(form(blob(6)), WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "beyond", [(WIDTH + 8, 3), (3, HEIGHT + 8), (-8, 3), (3, -8)], ids=["right", "below", "left", "above"]
)
def test_a_polygon_of_a_larger_image_is_an_error(beyond):
    with pytest.raises(ValueError, match=rf"reaches from [xy]=.* but the image is {WIDTH} wide and {HEIGHT} high"):
        decode_segmentation([SQUARE, [1, 1, 9, 9, *beyond]], HEIGHT, WIDTH)


def test_a_polygon_may_end_on_the_border_or_a_little_beyond():
    border = [-1, -1, WIDTH + 1, -1, WIDTH + 1, HEIGHT + 1, -1, HEIGHT + 1]
    assert decode_segmentation([border], HEIGHT, WIDTH).all()


@pytest.mark.parametrize("polygon", [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7]], ids=["two points", "odd"])
def test_a_polygon_without_three_points_is_an_error(polygon):
    with pytest.raises(ValueError, match="at least three x, y pairs"):
        decode_segmentation([SQUARE, polygon], HEIGHT, WIDTH)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (HEIGHT, WIDTH), (700, 900)])
def test_the_runs_of_any_mask_are_of_all_its_pixels(height, width):
    """Also long runs, whose numbers take several characters, and differences below zero."""
    rng = np.random.default_rng(0)
    masks = [np.zeros((height, width), bool), np.ones((height, width), bool)]
    masks += [rng.random((height, width)) < share for share in (0.001, 0.1, 0.5, 0.999)]
    for mask in masks:
        np.testing.assert_array_equal(decode_segmentation(encode_mask(mask), height, width), mask)


@pytest.mark.parametrize("number", [1, 2])
def test_runs_that_end_too_early_or_late_are_an_error(number):
    """pycocotools gives what it finds in the memory for the rest of one mask, and looks for the rest of several for ever."""
    whole = encode_mask(blob(7))
    cut = {**whole, "counts": whole["counts"][:-2]}
    short, long = ({"size": [HEIGHT, WIDTH], "counts": [5, HEIGHT * WIDTH + extra]} for extra in (-6, 9))
    for wrong in (cut, short, long):
        with pytest.raises(ValueError, match=f"the image has {HEIGHT}x{WIDTH}|cut off"):
            decode_segmentation([whole, wrong][-number:], HEIGHT, WIDTH)


@pytest.mark.parametrize("wrong", ["abc", [None], {"size": [1, 1]}])
def test_other_forms_are_an_error(wrong):
    with pytest.raises(ValueError, match="not a COCO segmentation"):
        decode_segmentation(wrong, HEIGHT, WIDTH)


def test_only_whole_masks_are_encoded():
    """Fractions would be cut to 0, and 255 is as good as 1."""
    mask = np.eye(4, dtype=bool)
    assert encode_mask(mask) == encode_mask(mask.astype(np.uint8) * 255)
    for wrong in (mask * 0.7, mask[None], mask.astype(np.float32)):
        with pytest.raises(ValueError, match=r"a mask must be bool of shape \(H, W\), got"):
            encode_mask(wrong)
