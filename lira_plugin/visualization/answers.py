"""One answer as a row of a figure: its masks over the image, its phrases in the colours of their masks."""

import html
from collections.abc import Sequence

import numpy as np

from lira_plugin.evaluation import match_masks, mean_matched_iou
from lira_plugin.structures import GroundedText, MaskStage, Region, decode_union
from lira_plugin.visualization.figure import Cell, PanelRow
from lira_plugin.visualization.overlay import Color, palette

MAX_UNLABELLED = 9
"""Beyond so many spans, each has a number on its mask and behind the phrase, since so many colours are hard to tell apart."""

_UNNAMED = "\N{BLACK SQUARE}"
_MATCHING_SIDE = 256


def answer_row(
    image: np.ndarray,
    answer: GroundedText,
    *,
    question: str = "",
    heading: str = "",
    regions: Sequence[Region] = (),
    draw_image: bool = False,
    draw_coarse: bool = False,
) -> PanelRow:
    """Draw an answer beside its ground truth.

    A ``<seg>`` that belongs to no phrase is shown in the text as a square of its mask's colour, and an answer that was
    cut off at the token limit ends in an ellipsis. Regions have the colour of the span that overlaps them best, and
    colours of their own where there is none.

    Args:
        image: (H, W, 3) uint8.
        answer: its masks are (H, W).
        question: what was asked, written above.
        heading: written above the question, such as the task.
        regions: ground truth; the masks' labels then have their IoU (:func:`~lira_plugin.evaluation.mean_matched_iou`).
        draw_image: show the image without masks too.
        draw_coarse: show the coarse masks beside the refined ones, where the answer has them.

    Raises:
        ValueError: an annotation of a region does not fit the image.
    """
    truth = [decode_union(region.segmentations, *image.shape[:2]) for region in regions]
    named = [region.has_target for region in regions]
    labels = span_labels(answer)
    own, true = _colors(answer, truth)
    cells = [Cell("image", image)] if draw_image or not (answer.spans or regions) else []
    if regions:
        note = "" if any(mask.any() for mask in truth) else ": no pixel" if any(named) else ": no target"
        cells.append(Cell(f"ground truth{note}", image, truth, true))
    stages: list[MaskStage] = ["refined"] if answer.spans or regions else []
    two = any(span.coarse_mask is not None for span in answer.spans)
    if draw_coarse and two:
        stages.insert(0, "coarse")
    for stage in stages:
        masks = [span.mask_of(stage) for span in answer.spans]
        name = f"{stage} " * two + ("mask" if len(masks) == 1 else "masks" if masks else "no mask")
        score = f", IoU {mean_matched_iou(masks, truth, named):.2f}" if regions else ""
        cells.append(Cell(name + score, image, masks, own, labels))
    caption, spans = answer_caption(answer, labels)
    return PanelRow(cells, title=question, heading=heading, caption=caption, spans=spans, colors=own)


def _colors(answer: GroundedText, truth: Sequence[np.ndarray]) -> tuple[list[Color], list[Color]]:
    """Colours of the spans and of the regions."""
    predicted = [span.mask for span in answer.spans]
    step = max(1, max((max(mask.shape) for mask in truth), default=1) // _MATCHING_SIDE)  # rough masks will do
    pairs = match_masks([mask[::step, ::step] for mask in predicted], [mask[::step, ::step] for mask in truth])
    span_of = {target: pred for pred, target in pairs}
    if len(predicted) == len(truth) == 1:
        span_of = {0: 0}
    colors = palette(len(predicted) + len(truth) - len(span_of))
    spare = iter(colors[len(predicted) :])
    return colors[: len(predicted)], [
        colors[span_of[index]] if index in span_of else next(spare) for index in range(len(truth))
    ]


def span_labels(answer: GroundedText) -> list[str]:
    """What is written on the masks of an answer to tell them apart; nothing where their colours suffice."""
    return [str(index + 1) for index in range(len(answer.spans))] if len(answer.spans) > MAX_UNLABELLED else []


def answer_caption(answer: GroundedText, labels: Sequence[str] = ()) -> tuple[str, list[tuple[int, int]]]:
    """The text to show of an answer, and the characters ``(start, end)`` of each span in it.

    Args:
        answer: the answer.
        labels: of the spans, written behind their phrases; none where empty.
    """
    text, spans, end = "", [], 0
    for index, span in enumerate(answer.spans):
        text += answer.text[end : span.start]
        start = len(text)
        text += (answer.text[span.start : span.end] or _UNNAMED) + (f" [{labels[index]}]" if labels else "")
        spans.append((start, len(text)))
        end = span.end
    text += answer.text[end:]
    return (text or "(empty answer)") + ("" if answer.finished else "\N{HORIZONTAL ELLIPSIS}"), spans


def answer_html(question: str, answer: GroundedText, colors: Sequence[Color] | None = None) -> str:
    """A question and its answer as HTML; phrases have the colours of their masks.

    Args:
        question: what was asked.
        answer: what was answered; one that has not begun is an ellipsis.
        colors: one a span; ``palette(len(spans))`` where None.

    Returns:
        Two paragraphs of the classes ``question`` and ``answer``; all text is escaped.
    """
    waiting = not (answer.text or answer.spans or answer.finished)
    text, spans = ("\N{HORIZONTAL ELLIPSIS}", []) if waiting else answer_caption(answer, span_labels(answer))
    pieces, end = [], 0
    for (start, stop), color in zip(spans, colors or palette(len(spans))):
        style = f"background:rgb{color};color:white".replace(" ", "")
        pieces += [html.escape(text[end:start]), f'<mark style="{style}">{html.escape(text[start:stop])}</mark>']
        end = stop
    pieces.append(html.escape(text[end:]))
    return f'<p class="question">{html.escape(question)}</p><p class="answer">{"".join(pieces)}</p>'
