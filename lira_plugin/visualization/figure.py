"""Figures: titles, pictures side by side and captions, on white."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from lira_plugin.visualization.colored_text import caption_height, label_masks, write_caption
from lira_plugin.visualization.fonts import load_font
from lira_plugin.visualization.overlay import Color, check_image, draw_masks, resize_mask

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
        labels: short texts written on the masks; empty, or one a mask.
    """

    name: str
    image: np.ndarray
    masks: Sequence[np.ndarray] = ()
    colors: Sequence[Color] | None = None
    labels: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class PanelRow:
    """One row of a figure: a title, pictures side by side, and a caption with coloured phrases.

    Args:
        cells: pictures, which wrap to a new line where the figure's width is used up.
        title: written above, such as the question.
        caption: written below, such as the answer.
        spans: ``(start, end)`` of the coloured characters of the caption, in order, not overlapping.
        colors: one a span; ``palette(len(spans))`` where None.
        heading: small and pale above the title, such as the task.
    """

    cells: Sequence[Cell]
    title: str = ""
    caption: str = ""
    spans: Sequence[tuple[int, int]] = ()
    colors: Sequence[Color] | None = None
    heading: str = ""


def panel(
    rows: Sequence[PanelRow],
    *,
    cell_height: int = 240,
    width: int = 1280,
    flow: bool = False,
    font_size: int = 16,
    font: str | None = None,
) -> np.ndarray:
    """Compose a figure on white.

    Every picture is scaled to ``cell_height`` (to less only where it would be wider than the figure).

    Args:
        rows: what to show, in reading order.
        cell_height: pixels, at least ``MIN_CELL_HEIGHT``.
        width: greatest width of the figure in pixels; it gets narrower where the pictures are.
        flow: set rows side by side where there is room for both; else each has the whole width.
        font_size: of the captions, in pixels; the space between the parts grows with it.
        font: path of a font to prefer, see :class:`~lira_plugin.visualization.fonts.TextFont`.

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
    gap = round(0.6 * font_size)
    margin = 2 * gap
    room = width - 2 * margin
    blocks = [_cell_lines(row.cells, cell_height, room, gap, font_size, font) for row in rows]
    widths = [max((line.shape[1] for line in block), default=0) for block in blocks]
    least = min(room, (22 if flow else 30) * font_size)  # for the texts
    widths = [max(used if flow else max(widths), least) for used in widths]
    sections = [_section(*parts, gap, font_size, font) for parts in zip(rows, blocks, widths)]
    lines = _fill(sections, room if flow else 0, 4 * gap)
    inner = max(line.shape[1] for line in lines)
    rule = _white(2 * gap + 1, inner)
    rule[gap] = _RULE
    content = np.concatenate([part for line in lines for part in (rule, _pad_right(line, inner))][1:])
    return np.pad(content, ((margin, margin), (margin, margin), (0, 0)), constant_values=255)


def _section(
    row: PanelRow, pictures: Sequence[np.ndarray], width: int, gap: int, font_size: int, font: str | None
) -> np.ndarray:
    """A row with its texts, (H, width, 3)."""
    parts = []
    if row.heading:
        parts.append(_text_block(row.heading, width, _label_size(font_size), font, ink=_FAINT_INK))
    if row.title:
        parts.append(_text_block(row.title, width, round(font_size * 1.15), font))
    parts += [_pad_right(line, width) for line in pictures]
    if row.caption:
        parts.append(_text_block(row.caption, width, font_size, font, spans=row.spans, colors=row.colors))
    spaced = [part for piece in parts for part in (_white(gap, width), piece)][1:]
    return np.concatenate(spaced or [_white(1, width)])


def _label_size(font_size: int) -> int:
    return max(11, round(font_size * 0.85))


def _text_block(text: str, width: int, font_size: int, font: str | None, **settings: Any) -> np.ndarray:
    block = _white(caption_height(text, width, font_size=font_size, font=font), width)
    write_caption(block, text, font_size=font_size, font=font, **settings)
    return block


def _cell_lines(
    cells: Sequence[Cell], height: int, width: int, gap: int, font_size: int, font: str | None
) -> list[np.ndarray]:
    return _fill([_draw_cell(cell, height, width, _label_size(font_size), font) for cell in cells], width, gap)


def _fill(pictures: Sequence[np.ndarray], width: int, gap: int) -> list[np.ndarray]:
    """Set pictures side by side, in as many lines as ``width`` needs; each line has one at least."""
    lines: list[list[np.ndarray]] = []
    used = 0
    for picture in pictures:
        if not lines or used + gap + picture.shape[1] > width:
            lines.append([picture])
            used = picture.shape[1]
        else:
            lines[-1].append(picture)
            used += gap + picture.shape[1]
    return [_side_by_side(line, gap) for line in lines]


def _side_by_side(pictures: Sequence[np.ndarray], gap: int) -> np.ndarray:
    tallest = max(picture.shape[0] for picture in pictures)
    parts = [part for picture in pictures for part in (_white(tallest, gap), _pad_below(picture, tallest))]
    return np.concatenate(parts[1:], axis=1)


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
    masks = [resize_mask(mask, size) for mask in cell.masks]
    picture = draw_masks(image, masks, cell.colors)
    if cell.labels:
        picture = label_masks(picture, masks, cell.labels, cell.colors, font_size=label_size, font=font)
    label_width = max(size[0], min(width, math.ceil(load_font(label_size, font).length(cell.name))))
    label = _text_block(cell.name, label_width, label_size, font, ink=_FAINT_INK)
    return np.concatenate([label, _pad_right(picture, label_width)])


def _white(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 255, np.uint8)


def _pad_right(image: np.ndarray, width: int) -> np.ndarray:
    return np.concatenate([image, _white(image.shape[0], width - image.shape[1])], axis=1)


def _pad_below(image: np.ndarray, height: int) -> np.ndarray:
    return np.concatenate([image, _white(height - image.shape[0], image.shape[1])])
