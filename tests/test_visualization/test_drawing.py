import numpy as np
import pytest
from PIL import Image

from lira_plugin.visualization import (
    MIN_CELL_HEIGHT,
    Cell,
    PanelRow,
    caption_height,
    draw_masks,
    palette,
    panel,
    save_image,
    write_caption,
)

RED, BLUE = (214, 40, 40), (25, 113, 194)


def grey(height: int, width: int, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def rectangle(height: int, width: int, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    return mask


def has_color(image: np.ndarray, color) -> np.ndarray:
    return (image == np.array(color)).all(-1)


def rows_with_ink(canvas: np.ndarray) -> np.ndarray:
    return np.flatnonzero((canvas != 255).any((1, 2)))


def contrast_with_white(color) -> float:
    """WCAG 2, written out."""
    luminance = 0.0
    for part, weight in zip(color, (0.2126, 0.7152, 0.0722)):
        share = part / 255
        luminance += weight * (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4)
    return 1.05 / (luminance + 0.05)


def test_palette_is_distinct_legible_and_grows_at_its_end():
    colors = palette(60)
    assert len(set(colors)) == 60
    assert min(contrast_with_white(color) for color in colors) >= 3.5
    assert palette(5) == colors[:5] and palette(20) == colors[:20]
    first = np.array(colors[:9], float)
    distances = np.linalg.norm(first[:, None] - first[None], axis=-1) + 1e9 * np.eye(9)
    assert distances.min() > 40
    assert palette(0) == [] and len(palette(1000)) == 1000
    with pytest.raises(ValueError, match="-1"):
        palette(-1)


@pytest.mark.parametrize("shape", [(40, 300), (100, 100), (350, 500)])
def test_masks_are_tinted_outlined_and_nothing_else_changes(shape):
    height, width = shape
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    before = image.copy()
    mask = rectangle(height, width, 5, height - 5, 10, width // 2)
    drawn = draw_masks(image, [mask], [RED], alpha=0.5)
    assert drawn.dtype == np.uint8 and drawn.shape == image.shape
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(drawn[~mask], image[~mask])
    edge = mask & ~rectangle(height, width, 6, height - 6, 11, width // 2 - 1)
    assert has_color(drawn, RED)[edge].all()
    centre = (height // 2, width // 4)
    np.testing.assert_allclose(drawn[centre], image[centre] * 0.5 + np.array(RED) * 0.5, atol=0.51)


def test_a_small_mask_shows_on_top_of_a_large_one():
    large, small = np.ones((60, 60), bool), rectangle(60, 60, 20, 40, 20, 40)
    for masks, colors in (([large, small], [RED, BLUE]), ([small, large], [BLUE, RED])):
        drawn = draw_masks(grey(60, 60), masks, colors, alpha=1.0)
        assert has_color(drawn, BLUE)[small].all() and has_color(drawn, RED)[~small].all()


def test_empty_full_and_no_masks():
    image = grey(30, 50)
    np.testing.assert_array_equal(draw_masks(image, []), image)
    np.testing.assert_array_equal(draw_masks(image, [np.zeros((30, 50), bool)]), image)
    full = draw_masks(image, [np.ones((30, 50), bool)], [RED], alpha=0.5)
    assert (full == full[0, 0]).all()


def test_wrong_arrays_are_errors():
    with pytest.raises(ValueError, match=r"float64 \(4, 4, 3\)"):
        draw_masks(np.zeros((4, 4, 3)), [])
    with pytest.raises(ValueError, match=r"mask 1 is \(4, 5\)"):
        draw_masks(grey(4, 4), [np.zeros((4, 4), bool), np.zeros((4, 5), bool)])
    with pytest.raises(ValueError, match="1 colours for 2 masks"):
        draw_masks(grey(4, 4), [np.zeros((4, 4), bool)] * 2, [RED])


def test_a_span_is_written_in_its_color_and_the_rest_is_not():
    text = "a cat sits beside a dog"
    canvas = grey(40, 400, 255)
    bottom = write_caption(canvas, text, [(0, 5), (18, 23)], [RED, BLUE], font_size=18)
    assert bottom == caption_height(text, 400, font_size=18)
    red, blue = (np.flatnonzero(has_color(canvas, color).any(0)) for color in (RED, BLUE))
    assert len(red) and len(blue)
    assert red.max() < blue.min()
    between = canvas[:, red.max() + 1 : blue.min()]
    assert (between < 100).all(-1).any() and not has_color(between, RED).any()


def test_text_and_spans_wrap():
    text = "the quick brown fox jumps over the lazy dog and runs away " * 3
    span = (0, len(text.rstrip()))
    width = 220
    height = caption_height(text, width)
    assert height >= 4 * caption_height("x", width)
    canvas = grey(height, width + 80, 255)
    assert write_caption(canvas, text, [span], [RED], width=width) == height
    assert (canvas[:, width:] == 255).all(), "nothing is written beyond the width"
    lines = height // caption_height("x", width)
    for number in range(lines):
        line = canvas[number * height // lines : (number + 1) * height // lines]
        assert has_color(line, RED).any(), f"line {number} of the span has its colour"


def test_every_span_of_many_shows():
    words = [f"object{index}" for index in range(40)]
    text = ", ".join(words)
    starts = [text.index(word + ("," if index < 39 else "")) for index, word in enumerate(words)]
    colors = palette(40)
    canvas = grey(caption_height(text, 300), 300, 255)
    write_caption(canvas, text, [(start, start + len(word)) for start, word in zip(starts, words)], colors)
    assert all(has_color(canvas, color).any() for color in colors)


def test_line_ends_blank_text_and_words_wider_than_the_line():
    one = caption_height("x", 200)
    assert caption_height("a\nb\n\nc", 200) == 4 * one
    assert caption_height("", 200) == one
    long_word = "w" * 300
    canvas = grey(caption_height(long_word, 200), 200, 255)
    assert canvas.shape[0] > 10 * one
    write_caption(canvas, long_word)
    assert len(rows_with_ink(canvas))
    assert caption_height("ww", 1) == 2 * one


def test_caption_errors():
    canvas = grey(30, 200, 255)
    with pytest.raises(ValueError, match="caption_height"):
        write_caption(canvas, "word " * 50)
    with pytest.raises(ValueError, match=r"span \[0, 9\)"):
        write_caption(canvas, "short", [(0, 9)])
    with pytest.raises(ValueError, match=r"span \[2, 4\)"):
        write_caption(canvas, "short", [(0, 3), (2, 4)])
    with pytest.raises(ValueError, match="2 colours for 1 spans"):
        write_caption(canvas, "short", [(0, 3)], [RED, BLUE])
    assert (canvas == 255).all()


def cells(height: int, width: int, count: int = 4) -> list[Cell]:
    mask = rectangle(height, width, height // 4, height // 2 + 1, width // 4, width // 2 + 1)
    names = ["image", "ground truth", "coarse", "refined"]
    return [Cell(names[index % 4], grey(height, width), [mask] if index else [], [RED] if index else None)
            for index in range(count)]  # fmt: skip


@pytest.mark.parametrize("shape", [(128, 128), (40, 300), (300, 40), (700, 1000), (1, 1), (2, 900)])
def test_panels_of_odd_sizes(shape):
    figure = panel([PanelRow(cells(*shape), "Please segment the thing.", "the thing.", [(0, 9)], [RED])])
    assert figure.dtype == np.uint8 and figure.ndim == 3
    assert figure.shape[1] <= 1280
    border = np.concatenate([figure[:8].reshape(-1, 3), figure[:, :8].reshape(-1, 3), figure[:, -8:].reshape(-1, 3)])
    assert (border == 255).all()
    assert has_color(figure, RED).any()


def test_cells_have_a_common_height_that_a_small_scene_is_enlarged_to():
    figure = panel([PanelRow([Cell("a", grey(128, 128)), Cell("b", grey(64, 128, 90))])], cell_height=200)
    first, second = has_color(figure, (128, 128, 128)), has_color(figure, (90, 90, 90))
    assert first.any(1).sum() == 200 and first.any(0).sum() == 200
    assert second.any(1).sum() == 200 and second.any(0).sum() == 400


def test_cells_wrap_to_the_width():
    narrow = panel([PanelRow(cells(128, 128))], width=600)
    wide = panel([PanelRow(cells(128, 128))], width=1280)
    assert narrow.shape[1] <= 600 < wide.shape[1]
    assert narrow.shape[0] > 1.5 * wide.shape[0]


def test_rows_stack_and_a_row_may_be_text_only():
    one = panel([PanelRow(cells(128, 128))])
    two = panel([PanelRow(cells(128, 128)), PanelRow([], caption="no picture here")])
    assert panel([PanelRow(cells(128, 128))] * 2).shape[0] > 1.8 * one.shape[0]
    assert two.shape[0] > 240


def test_a_mask_of_one_pixel_survives_shrinking():
    mask = np.zeros((1000, 900), bool)
    mask[501, 333] = True
    figure = panel([PanelRow([Cell("x", grey(1000, 900), [mask], [RED])])])
    assert has_color(figure, RED).any()


def test_panel_errors():
    with pytest.raises(ValueError, match="at least one row"):
        panel([])
    with pytest.raises(ValueError, match=str(MIN_CELL_HEIGHT)):
        panel([PanelRow(cells(8, 8))], cell_height=100)
    with pytest.raises(ValueError, match=r"mask 0 of cell 'x' is \(3, 3\)"):
        panel([PanelRow([Cell("x", grey(4, 4), [np.zeros((3, 3), bool)])])])


def test_images_are_saved_into_new_folders(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    save_image(tmp_path / "a" / "b.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a" / "b.png")), image)
    with pytest.raises(ValueError, match="uint8"):
        save_image(tmp_path / "c.png", image / 255)
