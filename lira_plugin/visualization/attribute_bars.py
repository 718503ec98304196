"""The words of an object's attributes as bar charts beside its mask, as in the paper's Fig. 5."""

from collections.abc import Mapping, Sequence

import numpy as np

from lira_plugin.evaluation import RankedWord
from lira_plugin.structures import MaskStage
from lira_plugin.visualization.colored_text import INK, write_caption
from lira_plugin.visualization.figure import Cell, PanelRow
from lira_plugin.visualization.fonts import TextFont, load_font
from lira_plugin.visualization.overlay import Color, palette

_BAR_SHARE = 0.6
"""Height of a bar, of that of its line."""
_WORD_SHARE = 0.45
"""Width of the words, of that of a chart, at most."""
_PALE: Color = (206, 212, 218)


def bar_chart(
    words: Sequence[RankedWord],
    color: Color,
    *,
    height: int = 240,
    width: int = 260,
    lines: int = 5,
    truth: str | None = None,
    font_size: int = 15,
    font: str | None = None,
) -> np.ndarray:
    """Draw a bar for each of the first words; the longest is that of the first.

    Args:
        words: the most probable first.
        color: of the bars.
        height, width: of the chart in pixels.
        lines: words to draw.
        truth: the true value; its word has the colour of the bars, and the other bars are pale.
        font_size: in pixels; less where the lines are lower.
        font: path of a font to prefer.

    Returns:
        (height, width, 3) uint8.

    Raises:
        ValueError: there is no word, ``lines`` is not positive, or the chart is too small for text.
    """
    if not words or lines < 1:
        raise ValueError(f"a chart needs words and at least one line, got {len(words)} words and {lines} lines")
    shown = words[:lines]
    step = height / lines
    loaded = load_font(max(7, min(font_size, int(step * 0.7))), font)
    if loaded.line_height > step or width < 12 * loaded.size:
        raise ValueError(f"a chart of {lines} lines does not fit into {width} x {height} pixels")
    names = [_shortened(word.value, loaded, _WORD_SHARE * width) for word in shown]
    left = round(max(loaded.length(name) for name in names)) + loaded.size // 2
    room = width - left - round(loaded.length("0.000")) - loaded.size // 2
    canvas = np.full((height, width, 3), 255, np.uint8)
    for index, (word, name) in enumerate(zip(shown, names)):
        middle = (index + 0.5) * step
        is_true = truth is None or word.value == truth
        top, bottom = round(middle - _BAR_SHARE * step / 2), round(middle + _BAR_SHARE * step / 2)
        right = left + max(1, round(room * word.prob / (shown[0].prob or 1)))
        canvas[top:bottom, left:right] = color if is_true else _PALE
        text_top = round(middle - loaded.line_height / 2)
        settings = {"top": max(0, text_top), "font_size": loaded.size, "font": font}
        ink = color if truth is not None and is_true else INK
        write_caption(canvas, name, left=0, ink=ink, **settings)
        write_caption(canvas, f"{word.prob:.2f}", left=right + loaded.size // 4, **settings)
    return canvas


def attribute_row(
    image: np.ndarray,
    mask: np.ndarray,
    words: Mapping[str, Sequence[RankedWord]],
    *,
    expression: str,
    stage: MaskStage = "coarse",
    truth: Mapping[str, str] | None = None,
    cell_height: int = 240,
    lines: int = 5,
    font_size: int = 15,
    font: str | None = None,
) -> PanelRow:
    """An object with its mask, and a bar chart of the words of each kind of attribute.

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool, of the same stage as the words.
        words: of each kind, the most probable first.
        expression: what the object was called.
        stage: of mask and words.
        truth: the true value of each kind where it is known.
        cell_height: pixels; that of the figure.
        lines: words to draw of each kind.
        font_size: of words and probabilities in pixels.
        font: path of a font to prefer.
    """
    colors = palette(len(words) + 1)
    cells = [Cell(f"{stage} mask", image, [mask], colors[:1])]
    for color, (kind, own) in zip(colors[1:], words.items()):
        true = (truth or {}).get(kind)
        chart = bar_chart(own, color, height=cell_height, lines=lines, truth=true, font_size=font_size, font=font)
        cells.append(Cell(kind if true is None else f"{kind} (true: {true})", chart))
    return PanelRow(cells, title=expression)


def _shortened(text: str, font: TextFont, width: float) -> str:
    if font.length(text) <= width:
        return text
    while text and font.length(text + "\N{HORIZONTAL ELLIPSIS}") > width:
        text = text[:-1]
    return text + "\N{HORIZONTAL ELLIPSIS}"
