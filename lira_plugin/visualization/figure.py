"""Figures: titles, pictures side by side and captions, on white."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from lira_plugin.visualization.caption import caption_height, load_font, write_caption
from lira_plugin.visualization.overlay import Color, check_image, draw_masks

MIN_CELL_HEIGHT = 160
"""Least height of a cell in pixels; below it, labels and small scenes cannot be read."""

_FAINT_INK: Color = (108, 117, 125)
_RULE: Color = (222, 226, 230)


@dataclass(frozen=True, eq=False)
class Cell:
    """One named picture of a row.

    Args:
        name: written above the picture.
        image: (H, W, 3) uint8.
        masks: (H, W) bool each, drawn over the picture after it is scaled, so that outlines stay sharp.
        colors: one a mask; ``palette(len(masks))`` where None.
    """

    name: str
    image: np.ndarray
    masks: Sequence[np.ndarray] = ()
    colors: Sequence[Color] | None = None


@dataclass(frozen=True, eq=False)
class PanelRow:
    """One row of a figure: a title, pictures side by side, and a caption with coloured phrases.

    Args:
        cells: pictures, which wrap to a new line where the figure's width is used up.
        title: written above, such as the question.
        caption: written below, such as the answer.
        spans: ``(start, end)`` of the coloured characters of the caption, in order, not overlapping.
        colors: one a span; ``palette(len(spans))`` where None.
    """

    cells: Sequence[Cell]
    title: str = ""
    caption: str = ""
    spans: Sequence[tuple[int, int]] = ()
    colors: Sequence[Color] | None = None


def panel(
    rows: Sequence[PanelRow],
    *,
    cell_height: int = 240,
    width: int = 1280,
    font_size: int = 16,
    gap: int = 10,
    font: str | None = None,
) -> np.ndarray:
    """Compose a figure on white.

    Every picture is scaled to ``cell_height`` (to less only where it would be wider than the figure).

    Args:
        rows: what to show, from top to bottom.
        cell_height: pixels, at least ``MIN_CELL_HEIGHT``.
        width: greatest width of the figure in pixels; it gets narrower where the pictures are.
        font_size: of the captions, in pixels.
        gap: pixels between the parts.
        font: path of a TrueType font, or None for Pillow's own.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: there are no rows, ``cell_height`` or ``width`` is too small, or what :func:`draw_masks` and
            :func:`write_caption` raise.
    """
    if not rows:
        raise ValueError("a figure needs at least one row")
    if cell_height < MIN_CELL_HEIGHT or width < 2 * MIN_CELL_HEIGHT:
        raise ValueError(
            f"cells need a height of {MIN_CELL_HEIGHT} pixels and the figure a width of {2 * MIN_CELL_HEIGHT} "
            f"at least, got {cell_height} and {width}"
        )
    margin = 2 * gap
    label_size = max(11, round(font_size * 0.85))
    blocks = [_cell_lines(row.cells, cell_height, width - 2 * margin, gap, label_size, font) for row in rows]
    used = max((line.shape[1] for block in blocks for line in block), default=0)
    inner = max(used, min(width - 2 * margin, 30 * font_size))
    parts: list[np.ndarray] = []
    for number, (row, block) in enumerate(zip(rows, blocks)):
        if number:
            rule = _white(2 * gap + 1, inner)
            rule[gap] = _RULE
            parts.append(rule)
        section = []
        if row.title:
            section.append(_text_block(row.title, (), (), inner, round(font_size * 1.15), font))
        section += [_pad_right(line, inner) for line in block]
        if row.caption:
            section.append(_text_block(row.caption, row.spans, row.colors, inner, font_size, font))
        for index, part in enumerate(section):
            parts += [part] if index == 0 else [_white(gap, inner), part]
    content = np.concatenate(parts)
    figure = _white(content.shape[0] + 2 * margin, inner + 2 * margin)
    figure[margin : margin + content.shape[0], margin : margin + inner] = content
    return figure


def _text_block(
    text: str,
    spans: Sequence[tuple[int, int]],
    colors: Sequence[Color] | None,
    width: int,
    font_size: int,
    font: str | None,
) -> np.ndarray:
    block = _white(caption_height(text, width, font_size=font_size, font=font), width)
    write_caption(block, text, spans, colors, font_size=font_size, font=font)
    return block


def _cell_lines(
    cells: Sequence[Cell], height: int, width: int, gap: int, label_size: int, font: str | None
) -> list[np.ndarray]:
    """Draw the cells and set them side by side, in as many lines as ``width`` needs."""
    lines: list[list[np.ndarray]] = []
    used = 0
    for cell in cells:
        drawn = _draw_cell(cell, height, width, label_size, font)
        if not lines or used + gap + drawn.shape[1] > width:
            lines.append([drawn])
            used = drawn.shape[1]
        else:
            lines[-1] += [_white(drawn.shape[0], gap), drawn]
            used += gap + drawn.shape[1]
    joined = []
    for line in lines:
        tallest = max(part.shape[0] for part in line)
        joined.append(np.concatenate([_pad_below(part, tallest) for part in line], axis=1))
    return joined


def _draw_cell(cell: Cell, height: int, width: int, label_size: int, font: str | None) -> np.ndarray:
    check_image(cell.image)
    rows, columns = cell.image.shape[:2]
    scale = min(height / rows, width / columns)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    filter_ = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS
    image = np.asarray(Image.fromarray(cell.image).resize(size, filter_))
    for index, mask in enumerate(cell.masks):
        if np.shape(mask) != (rows, columns):
            raise ValueError(
                f"mask {index} of cell {cell.name!r} is {np.shape(mask)}, but the image is {rows, columns}"
            )
    picture = draw_masks(image, [_resize_mask(mask, size) for mask in cell.masks], cell.colors)
    label_width = max(size[0], int(np.ceil(load_font(label_size, font).getlength(cell.name))))
    label = _white(caption_height(cell.name, label_width, font_size=label_size, font=font), label_width)
    write_caption(label, cell.name, font_size=label_size, font=font, ink=_FAINT_INK)
    return np.concatenate([label, _pad_right(picture, label.shape[1])])


def _resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale a mask to (width, height); one that has a pixel keeps at least one."""
    values = np.asarray(mask).astype(bool).astype(np.float32)
    scale = size[0] / values.shape[1]
    scaled = cv2.resize(values, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if scale > 1:
        scaled = cv2.GaussianBlur(scaled, (0, 0), scale / 2)  # rounds the stairs that enlarged pixels leave
    return scaled >= min(0.5, scaled.max()) if values.any() else np.zeros(scaled.shape, bool)


def _white(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)


def _pad_right(image: np.ndarray, width: int) -> np.ndarray:
    return np.concatenate([image, _white(image.shape[0], width - image.shape[1])], axis=1)


def _pad_below(image: np.ndarray, height: int) -> np.ndarray:
    return np.concatenate([image, _white(height - image.shape[0], image.shape[1])])
