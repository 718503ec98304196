"""Text of the colour of a mask: phrases in wrapped text, and labels on the masks."""

import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from lira_plugin.visualization.fonts import TextFont, load_font
from lira_plugin.visualization.overlay import Color, check_image, colors_for

INK: Color = (33, 37, 41)
"""Colour of plain text."""

Run = tuple[int, int, int | None]
"""First character, one past the last, and the index of the span that they belong to, or None."""


def caption_height(text: str, width: int, *, font_size: int = 16, font: str | None = None) -> int:
    """Height in pixels that :func:`write_caption` needs for ``text`` in ``width`` pixels."""
    loaded = load_font(font_size, font)
    return len(_wrap(text, loaded, width)) * loaded.line_height


def write_caption(
    canvas: np.ndarray,
    text: str,
    spans: Sequence[tuple[int, int]] = (),
    colors: Sequence[Color] | None = None,
    *,
    left: int = 0,
    top: int = 0,
    width: int | None = None,
    font_size: int = 16,
    font: str | None = None,
    ink: Color = INK,
) -> int:
    """Draw wrapped text into ``canvas``, each span in its colour and underlined.

    Lines break at spaces, between Chinese or Japanese characters, at line ends in the text, and inside of a word that is
    wider than the line. A line that begins with a script written from right to left is laid out that way.

    Args:
        canvas: (H, W, 3) uint8, written to.
        text: what to write.
        spans: ``(start, end)`` of the coloured characters, in order, not overlapping.
        colors: one a span; ``palette(len(spans))`` where None.
        left: column of the text's left edge.
        top: row of the text's upper edge.
        width: pixels of a line; up to the right edge where None.
        font_size: in pixels.
        font: path of a font to prefer; characters it lacks are drawn with :class:`TextFont`'s others.
        ink: colour of the rest of the text.

    Returns:
        The row below the last line.

    Raises:
        ValueError: the canvas is not (H, W, 3) uint8 or too low for the text, a span lies outside of the text or
            overlaps the one before it, or the numbers of spans and colours differ.
    """
    check_image(canvas)
    colors = colors_for(len(spans), colors, "spans")
    _check_spans(text, spans)
    loaded = load_font(font_size, font)
    lines = _wrap(text, loaded, canvas.shape[1] - left if width is None else width)
    bottom = top + len(lines) * loaded.line_height
    if bottom > canvas.shape[0]:
        raise ValueError(
            f"the text takes rows {top} to {bottom}, but the canvas has {canvas.shape[0]}: ask caption_height first"
        )
    drawn = Image.fromarray(canvas)
    draw = ImageDraw.Draw(drawn)
    stroke = max(1, round(font_size / 14))
    for index, (start, end) in enumerate(lines):
        baseline = top + index * loaded.line_height + loaded.ascent
        x = float(left)
        for first, last, span in _visual_order(text, _runs(start, end, spans)):
            color = ink if span is None else colors[span]
            begin = x
            for piece in loaded.pieces(text[first:last]):
                draw.text((x, baseline), piece.text, fill=color, font=piece.font, anchor="ls")
                x += piece.font.getlength(piece.text)
            if span is not None:
                right = max(round(begin), round(begin + loaded.length(text[first:last].rstrip())) - 1)
                draw.rectangle((round(begin), baseline + stroke, right, baseline + 2 * stroke - 1), fill=color)
    canvas[:] = np.asarray(drawn)
    return bottom


def label_masks(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    labels: Sequence[str],
    colors: Sequence[Color] | None = None,
    *,
    font_size: int = 14,
    font: str | None = None,
) -> np.ndarray:
    """Write a label in the middle of each mask, white on the mask's colour.

    Args:
        image: (H, W, 3) uint8, left as it is.
        masks: (H, W) bool each; one without a pixel gets no label.
        labels: one a mask.
        colors: one a mask; ``palette(len(masks))`` where None.
        font_size: in pixels.
        font: path of a font to prefer.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: the image is not (H, W, 3) uint8, or the numbers of masks, labels and colours differ.
    """
    check_image(image)
    colors = colors_for(len(masks), colors, "masks")
    if len(labels) != len(masks):
        raise ValueError(f"got {len(labels)} labels for {len(masks)} masks")
    height, width = image.shape[:2]
    loaded = load_font(font_size, font)
    drawn = Image.fromarray(image)
    draw = ImageDraw.Draw(drawn)
    for mask, label, color in zip(masks, labels, colors):
        if not np.any(mask):
            continue
        padded = np.pad(np.asarray(mask, np.uint8), 1)  # the image's edge bounds a mask too
        row, column = divmod(int(cv2.distanceTransform(padded, cv2.DIST_L2, 3).argmax()), width + 2)
        label_width, label_height = round(loaded.length(label) + 0.4 * font_size), round(1.2 * font_size)
        left = min(max(column - 1 - label_width // 2, 0), max(width - label_width, 0))
        top = min(max(row - 1 - label_height // 2, 0), max(height - label_height, 0))
        draw.rectangle((left, top, left + label_width - 1, top + label_height - 1), fill=color)
        x = left + 0.2 * font_size
        for piece in loaded.pieces(label):
            draw.text((x, top + label_height / 2), piece.text, fill=(255, 255, 255), font=piece.font, anchor="lm")
            x += piece.font.getlength(piece.text)
    return np.asarray(drawn)


def _check_spans(text: str, spans: Sequence[tuple[int, int]]) -> None:
    previous = 0
    for start, end in spans:
        if not previous <= start < end <= len(text):
            raise ValueError(
                f"span [{start}, {end}) is empty, overlaps the one before it (which ends at {previous}), or lies "
                f"outside of the text of {len(text)} characters"
            )
        previous = end


def _wrap(text: str, font: TextFont, width: int) -> list[tuple[int, int]]:
    """Character ranges of the lines; the blanks at which lines break belong to none."""
    lines = []
    start = 0
    for paragraph in text.split("\n"):
        end = start + len(paragraph)
        position = start
        while True:
            stop, following = _break_line(text, position, end, font, width)
            lines.append((position, stop))
            position = following
            if position >= end:
                break
        start = end + 1
    return lines


def _break_line(text: str, start: int, end: int, font: TextFont, width: int) -> tuple[int, int]:
    """End of the line that begins at ``start``, and where the next one begins."""
    if font.length(text[start:end]) <= width:
        return end, end
    fits, too_long = start + 1, end
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if font.length(text[start:middle]) <= width:
            fits = middle
        else:
            too_long = middle
    if fits == end:
        return end, end
    stop = next((index for index in range(fits, start, -1) if _may_break(text, index)), fits)
    following = stop
    while following < end and text[following] == " ":
        following += 1
    return stop, following


def _may_break(text: str, index: int) -> bool:
    """Whether a line may end in front of ``text[index]``: a blank, or the end of a Chinese or Japanese character."""
    before, after = text[index - 1], text[index]
    if after == " ":
        return True
    closing = unicodedata.category(after) in ("Po", "Pe", "Pf", "Mn", "Mc") or before == " "
    return not closing and (unicodedata.east_asian_width(before) in "WF" or unicodedata.east_asian_width(after) in "WF")


def _runs(start: int, end: int, spans: Sequence[tuple[int, int]]) -> list[Run]:
    """Cut the characters ``start`` to ``end`` where a span begins or ends: (first, last, index of the span or None)."""
    runs: list[Run] = []
    position = start
    for index, (span_start, span_end) in enumerate(spans):
        first, last = max(span_start, start), min(span_end, end)
        if first >= last:
            continue
        if position < first:
            runs.append((position, first, None))
        runs.append((first, last, index))
        position = last
    if position < end:
        runs.append((position, end, None))
    return runs


def _visual_order(text: str, runs: list[Run]) -> list[Run]:
    """The runs of a line from left to right: reversed where its first letter is of a right-to-left script."""
    directions = (unicodedata.bidirectional(text[index]) for first, last, _ in runs for index in range(first, last))
    return runs[::-1] if next((d for d in directions if d in ("L", "R", "AL")), "L") != "L" else runs
