"""The view of a region, against the recipe of ``gcg_lira.py:223-249`` written with Pillow alone."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from lira_plugin.structures import region_view, resize_image


def highlight(image, mask):
    """Crop to the bounding box, darken to 0.3, put the region's own pixels back."""
    picture, stencil = Image.fromarray(image), Image.fromarray(mask.astype(np.uint8) * 255, mode="L")
    box = stencil.getbbox()
    picture, stencil = picture.crop(box), stencil.crop(box)
    dark = ImageEnhance.Brightness(picture).enhance(0.3)
    dark.paste(picture, mask=stencil)
    return np.asarray(dark)


def scene(seed, height=37, width=53):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), rng


def blob(rng, height, width):
    rows, columns = np.mgrid[:height, :width]
    y, x, a, b = rng.uniform(5, height - 5), rng.uniform(5, width - 5), rng.uniform(2, 9), rng.uniform(2, 14)
    return ((rows - y) / a) ** 2 + ((columns - x) / b) ** 2 < 1


@pytest.mark.parametrize("seed", range(8))
def test_before_resizing_it_is_pillows_recipe(seed):
    image, rng = scene(seed)
    mask = blob(rng, *image.shape[:2])
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    side = max(np.ptp(rows), np.ptp(columns)) + 1
    # corners that make the bounding box a square: then the resize does nothing
    mask[min(rows[0], mask.shape[0] - side), min(columns[0], mask.shape[1] - side)] = True
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    mask[rows[0] + side - 1, columns[0] + side - 1] = True
    expected = highlight(image, mask)
    assert expected.shape == (side, side, 3)
    view = region_view(image, mask, side)
    assert np.abs(view.astype(int) - expected).max() <= 1
    inside = mask[rows[0] : rows[0] + side, columns[0] : columns[0] + side]
    assert (view[inside] == expected[inside]).all(), "the region itself is untouched"


@pytest.mark.parametrize("seed", range(4))
def test_the_crop_is_squashed_to_the_tile(seed):
    image, rng = scene(seed)
    mask = blob(rng, *image.shape[:2])
    expected = np.asarray(Image.fromarray(highlight(image, mask)).resize((32, 32), Image.BICUBIC))
    view = region_view(image, mask, 32)
    assert view.shape == (32, 32, 3) and view.dtype == np.uint8
    assert np.abs(view.astype(int) - expected).max() <= 2


def test_several_parts_share_one_box():
    image, _ = scene(0)
    mask = np.zeros(image.shape[:2], bool)
    mask[3:5, 4:6] = mask[20:23, 21:24] = True
    assert np.abs(region_view(image, mask, 20).astype(int) - highlight(image, mask)).max() <= 1


def test_a_single_pixel():
    image, _ = scene(0)
    mask = np.zeros(image.shape[:2], bool)
    mask[36, 52] = True
    assert (region_view(image, mask, 8) == image[36, 52]).all()


def test_an_empty_mask_shows_the_whole_image_darkened():
    image, _ = scene(0, 40, 40)
    mask = np.zeros((40, 40), bool)
    expected = np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(0.3))
    assert np.abs(region_view(image, mask, 40).astype(int) - expected).max() <= 1
    assert np.abs(highlight(image, mask).astype(int) - expected).max() == 0, "as the recipe does"


def test_the_inputs_are_left_as_they_are():
    image, _ = scene(0)
    mask = np.zeros(image.shape[:2], bool)
    mask[4:9, 5:10] = True
    before = image.copy(), mask.copy()
    region_view(image, mask, 5)
    assert (image == before[0]).all() and (mask == before[1]).all()


def test_shapes_that_do_not_fit_are_an_error():
    image, _ = scene(0)
    with pytest.raises(ValueError, match=r"\(37, 52\).*\(37, 53\)"):
        region_view(image, np.zeros((37, 52), bool), 16)


@pytest.mark.parametrize(("height", "width"), [(10, 90), (74, 106), (37, 53)])
def test_resizing_is_pillows_bicubic(height, width):
    image, _ = scene(3)
    expected = np.asarray(Image.fromarray(image).resize((width, height), Image.BICUBIC))
    assert (resize_image(image, height, width) == expected).all()
