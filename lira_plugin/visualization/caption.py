"""Wrapped text in which phrases have the colour of their mask."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lira_plugin.visualization.overlay import Color, check_image, colors_for

INK: Color = (33, 37, 41)
"""Colour of plain text."""


def caption_height(text: str, width: int, *, font_size: int = 16, font: str | None = None) -> int:
    """Height in pixels that :func:`write_caption` needs for ``text`` in ``width`` pixels."""
    loaded = load_font(font_size, font)
    return len(_wrap(text, loaded, width)) * _line_height(loaded)


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

    Lines break at spaces, at line ends in the text, and inside of a word that is wider than the line. Pillow's own font
    has little more than ASCII: give ``font`` for accents and other scripts.

    Args:
        canvas: (H, W, 3) uint8, written to.
        text: what to write.
        spans: ``(start, end)`` of the coloured characters, in order, not overlapping.
        colors: one a span; ``palette(len(spans))`` where None.
        left: column of the text's left edge.
        top: row of the text's upper edge.
        width: pixels of a line; up to the right edge where None.
        font_size: in pixels.
        font: path of a TrueType font, or None for Pillow's own.
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
    height = _line_height(loaded)
    bottom = top + len(lines) * height
    if bottom > canvas.shape[0]:
        raise ValueError(
            f"the text takes rows {top} to {bottom}, but the canvas has {canvas.shape[0]}: ask caption_height first"
        )
    drawn = Image.fromarray(canvas)
    draw = ImageDraw.Draw(drawn)
    stroke = max(1, round(font_size / 14))
    ascent = loaded.getmetrics()[0]
    for number, (start, end) in enumerate(lines):
        y = top + number * height
        for first, last, span in _runs(start, end, spans):
            x = left + loaded.getlength(text[start:first])
            color = ink if span is None else tuple(colors[span])
            draw.text((x, y), text[first:last], fill=color, font=loaded)
            if span is not None:
                line_y = y + ascent + stroke
                right = left + loaded.getlength(text[start:last].rstrip())
                draw.rectangle((round(x), line_y, max(round(x), round(right) - 1), line_y + stroke - 1), fill=color)
    canvas[:] = np.asarray(drawn)
    return bottom


def _check_spans(text: str, spans: Sequence[tuple[int, int]]) -> None:
    previous = 0
    for start, end in spans:
        if not previous <= start < end <= len(text):
            raise ValueError(
                f"span [{start}, {end}) is empty, overlaps the one before it (which ends at {previous}), or lies "
                f"outside of the text of {len(text)} characters"
            )
        previous = end


@lru_cache(maxsize=16)
def load_font(size: int, path: str | None) -> ImageFont.FreeTypeFont:
    """The TrueType font at ``path``, or Pillow's own, in pixels."""
    return ImageFont.load_default(size=size) if path is None else ImageFont.truetype(path, size)


def _line_height(font: ImageFont.FreeTypeFont) -> int:
    ascent, descent = font.getmetrics()
    return round((ascent + descent) * 1.2)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[tuple[int, int]]:
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


def _break_line(text: str, start: int, end: int, font: ImageFont.FreeTypeFont, width: int) -> tuple[int, int]:
    """End of the line that begins at ``start``, and where the next one begins."""
    if font.getlength(text[start:end]) <= width:
        return end, end
    fits, too_long = start + 1, end
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if font.getlength(text[start:middle]) <= width:
            fits = middle
        else:
            too_long = middle
    blank = text.rfind(" ", start + 1, fits + 1)
    if blank < 0:
        return fits, fits
    following = blank
    while following < end and text[following] == " ":
        following += 1
    return blank, following


def _runs(start: int, end: int, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int, int | None]]:
    """Cut the characters ``start`` to ``end`` where a span begins or ends: (first, last, index of the span or None)."""
    runs: list[tuple[int, int, int | None]] = []
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
