import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from lira_plugin.structures import Letterbox

SIZES = [(1, 1), (5, 5), (7, 4), (4, 7), (9, 13), (13, 8), (1, 6), (40, 3)]


def brute_force_square(mask: np.ndarray, fill) -> np.ndarray:
    """Pad to a square, pixel by pixel; of an odd padding the larger half goes to the bottom or right."""
    height, width = mask.shape[:2]
    side = max(height, width)
    square = np.empty((side, side, *mask.shape[2:]), mask.dtype)
    for row in range(side):
        for column in range(side):
            source_row = row - (side - height) // 2
            source_column = column - (side - width) // 2
            inside = 0 <= source_row < height and 0 <= source_column < width
            square[row, column] = mask[source_row, source_column] if inside else fill
    return square


def square_at_pixels(letterbox: Letterbox, square: np.ndarray) -> np.ndarray:
    """What the square shows at the centre of every pixel of the image."""
    lengths = (letterbox.height, letterbox.width)
    centres = [np.arange(length) + offset + 0.5 for length, offset in zip(lengths, letterbox.offset)]
    rows, columns = (np.floor(centre * letterbox.size / letterbox.side).astype(int) for centre in centres)
    return square[np.ix_(rows, columns)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_whole_enlargement_repeats_pixels_and_inverts(height, width):
    mask = np.random.default_rng(height * 100 + width).random((height, width)) < 0.5
    factor = 3
    letterbox = Letterbox(height, width, size=factor * max(height, width))
    square = letterbox.apply_mask(mask)
    expected = np.kron(brute_force_square(mask, False), np.ones((factor, factor), bool))
    assert square.dtype == bool
    np.testing.assert_array_equal(square, expected)
    np.testing.assert_array_equal(square_at_pixels(letterbox, square), mask)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("size", [41, 64, 97])
def test_every_enlargement_inverts_exactly(height, width, size):
    mask = np.random.default_rng(size).random((height, width)) < 0.5
    letterbox = Letterbox(height, width, size)
    np.testing.assert_array_equal(square_at_pixels(letterbox, letterbox.apply_mask(mask)), mask)


@pytest.mark.parametrize(("height", "width", "size"), [(31, 20, 12), (20, 31, 17), (33, 33, 16)])
def test_shrinking_takes_the_pixel_under_the_centre(height, width, size):
    mask = np.random.default_rng(size).random((height, width)) < 0.5
    square = brute_force_square(mask, False)
    side = max(height, width)
    expected = np.zeros((size, size), bool)
    for row in range(size):
        for column in range(size):
            expected[row, column] = square[int((row + 0.5) * side / size), int((column + 0.5) * side / size)]
    np.testing.assert_array_equal(Letterbox(height, width, size).apply_mask(mask), expected)


def test_an_image_of_the_right_side_is_only_padded():
    image = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    got = Letterbox(6, 9, size=9).apply_image(image, fill=(1, 2, 3))
    np.testing.assert_array_equal(got, brute_force_square(image, (1, 2, 3)))


def test_a_resized_image_keeps_constant_colours():
    got = Letterbox(10, 30, size=60).apply_image(np.full((10, 30, 3), 200, np.uint8), fill=(10, 10, 10))
    assert got.shape == (60, 60, 3)
    assert (got[24:36] == 200).all()
    assert (got[:14] == 10).all() and (got[46:] == 10).all()


@pytest.mark.parametrize(("height", "width"), [(31, 20), (20, 31), (90, 7), (7, 90), (33, 33)])
@pytest.mark.parametrize("size", [16, 120])
def test_an_image_is_what_pillow_makes_of_its_square(height, width, size, monkeypatch):
    monkeypatch.setattr("lira_plugin.structures.letterbox._PIXELS_AT_ONCE", 1000)
    image = np.random.default_rng(size).integers(0, 256, (height, width, 3)).astype(np.uint8)
    square = Image.fromarray(brute_force_square(image, (9, 80, 200)))
    expected = np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))
    found = Letterbox(height, width, size).apply_image(image, (9, 80, 200))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("height", "width"), [(4, 8_000), (8_000, 4)])
def test_an_elongated_image_never_takes_the_memory_of_its_square(height, width, monkeypatch):
    monkeypatch.setattr("lira_plugin.structures.letterbox._PIXELS_AT_ONCE", 2**20)
    box = Letterbox(height, width, size=32)
    tracemalloc.start()
    try:
        box.apply_image(np.zeros((height, width, 3), np.uint8), (0, 0, 0))
        box.apply_mask(np.zeros((height, width), bool))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * 3 * 32 * 8_000 + 3 * 2**20 * 2, "the square has 192 MB"


def test_invert_logits_of_constant_halves():
    logits = torch.full((2, 16, 16), -4.0)
    logits[0, :, 8:] = 4.0
    logits[1, 8:] = 4.0
    inverted = Letterbox(24, 48, size=64).invert_logits(logits)
    assert inverted.shape == (2, 24, 48)
    assert torch.equal(inverted[0] > 0, (torch.arange(48) >= 24).expand(24, 48))
    assert torch.equal(inverted[1] > 0, (torch.arange(24) >= 12)[:, None].expand(24, 48))
    assert inverted.min() == -4 and inverted.max() == 4
    # away from the edge, bilinear interpolation of a constant is that constant
    assert (inverted[0, :, :20] == -4).all() and (inverted[0, :, 28:] == 4).all()


@pytest.mark.parametrize(("height", "width"), [*SIZES, (60, 80), (80, 60), (31, 500)])
def test_invert_logits_cuts_the_image_out_of_the_resized_square(height, width):
    logits = torch.randn((2, 16, 12), generator=torch.Generator().manual_seed(0))
    side = max(height, width)
    square = F.interpolate(logits[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]
    top, left = (side - height) // 2, (side - width) // 2
    expected = square[:, top : top + height, left : left + width]
    torch.testing.assert_close(Letterbox(height, width, size=32).invert_logits(logits), expected)


@pytest.mark.parametrize(("height", "width"), [(2, 2000), (2000, 2)])
def test_invert_logits_never_makes_the_square_of_an_elongated_image(height, width):
    with torch.profiler.profile(profile_memory=True) as profile:
        Letterbox(height, width, size=32).invert_logits(torch.zeros(1, 8, 8))
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert 4 * height * width <= largest <= 4 * 2000 * 8


def test_invert_logits_takes_no_mask_at_all():
    assert Letterbox(5, 8, size=16).invert_logits(torch.zeros(0, 4, 4)).shape == (0, 5, 8)


def test_an_array_of_another_size_is_an_error():
    letterbox = Letterbox(5, 8, size=16)
    with pytest.raises(ValueError, match=r"5x8 .* \(8, 5\)"):
        letterbox.apply_mask(np.zeros((8, 5), bool))
    with pytest.raises(ValueError, match=r"5x8 .* \(5, 9\)"):
        letterbox.apply_image(np.zeros((5, 9, 3), np.uint8), (0, 0, 0))


@pytest.mark.parametrize("sizes", [(0, 4, 8), (4, 0, 8), (4, 4, 0), (-1, 4, 8)])
def test_sizes_must_be_positive(sizes):
    with pytest.raises(ValueError, match="positive"):
        Letterbox(*sizes)
