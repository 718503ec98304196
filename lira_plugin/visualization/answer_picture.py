"""An answer as a picture of its own."""

from collections.abc import Sequence

import numpy as np

from lira_plugin.structures import GroundedText, Region
from lira_plugin.visualization.answers import answer_row
from lira_plugin.visualization.figure import MIN_CELL_HEIGHT, panel
from lira_plugin.visualization.overlay import check_image

_WIDE = 2.5
"""Aspect ratio beyond which pictures stand below each other."""


def answer_picture(
    image: np.ndarray,
    answer: GroundedText,
    regions: Sequence[Region] = (),
    *,
    question: str = "",
    draw_image: bool = False,
    draw_coarse: bool = False,
    min_side: int = 320,
    max_side: int | None = 640,
    font: str | None = None,
) -> np.ndarray:
    """Draw masks over the image, and the text with its phrases in the colours of their masks.

    Small images are enlarged and large ones reduced, so that lines and letters can be read.

    Args:
        image: (H, W, 3) uint8 RGB.
        answer: its masks are (H, W).
        regions: ground truth, drawn beside it.
        question: what was asked, written above.
        draw_image: show the image without masks too.
        draw_coarse: show coarse masks beside the refined ones.
        min_side: pixels that the longer side of the image has at least.
        max_side: pixels that it has at most; None keeps large images as they are.
        font: path of a font to prefer, see :class:`~lira_plugin.visualization.fonts.TextFont`.

    Returns:
        (H', W', 3) uint8 RGB.

    Raises:
        ValueError: the image is not (H, W, 3) uint8, or a mask or annotation does not fit it.
    """
    check_image(image)
    row = answer_row(image, answer, question=question, regions=regions, draw_image=draw_image, draw_coarse=draw_coarse)
    height, width = image.shape[:2]
    longer = max(height, width)
    side = max(longer, min_side) if max_side is None else min(max(longer, min_side), max_side)
    font_size = max(14, round(side / 45))
    cell_width = max(round(width * side / longer), 12 * font_size)  # which holds a label
    per_line = 1 if width > _WIDE * height else 2 if len(row.cells) == 4 else 3
    return panel(
        [row],
        cell_height=max(MIN_CELL_HEIGHT, round(height * side / longer)),
        width=max(2 * MIN_CELL_HEIGHT, per_line * (cell_width + font_size) + 2 * font_size),
        font_size=font_size,
        font=font,
    )
