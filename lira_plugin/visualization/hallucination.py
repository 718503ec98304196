"""Captions of the same images side by side, with the words for what an image does not show in red: a figure and a page."""

import base64
import html
from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from lira_plugin.datasets.transforms import read_rgb
from lira_plugin.evaluation.chair_scores import ChairCaption
from lira_plugin.visualization.figure import Cell, PanelRow, panel
from lira_plugin.visualization.overlay import Color, palette

Sides = Mapping[str, Sequence[ChairCaption]]
"""Judged captions of the same images in the same order, by what is written in front of them."""

RED: Color = palette(1)[0]
_FIGURES = ("CHAIRs", "CHAIRi", "recall", "length")
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; max-width: 70em; margin: 1em auto; color: #212529 }}
table {{ border-collapse: collapse; margin-bottom: 1em }}
td, th {{ padding: .2em .8em; border-bottom: 1px solid #dee2e6; text-align: right }}
th:first-child {{ text-align: left }} section {{ display: flex; gap: 1em; border-top: 1px solid #dee2e6; padding: 1em 0 }}
img {{ width: 16em; object-fit: contain; align-self: start }} mark {{ background: none; color: rgb{red}; font-weight: bold }}
small {{ color: #6c757d }}
</style></head><body><h1>{title}</h1><p>{request}</p>
{table}
{sections}
</body></html>
"""


def most_different(sides: Sides, count: int) -> list[int]:
    """Indices of the ``count`` images on which the sides differ most in hallucinated words, those with many such words first."""
    counts = np.array([[len(caption.hallucinated) for caption in captions] for captions in sides.values()])
    spread, total = counts.max(axis=0) - counts.min(axis=0), counts.sum(axis=0)
    return sorted(range(counts.shape[1]), key=lambda index: (-spread[index], -total[index]))[:count]


def hallucination_figure(
    sides: Sides,
    figures: Mapping[str, Mapping[str, float]],
    images: Mapping[str, str],
    shown: Sequence[int],
    request: str = "",
    *,
    cell_height: int = 180,
    width: int = 1280,
) -> np.ndarray:
    """Draw the scores, and images with the captions of each side below.

    Args:
        sides: captions.
        figures: scores of each side by name.
        images: paths by image id.
        shown: indices of the captions to show.
        request: that the captions answer, written above.
        cell_height, width: see :func:`~lira_plugin.visualization.panel`.

    Returns:
        (H, W, 3) uint8.

    Raises:
        OSError: an image cannot be read.
        ValueError: the sizes are too small.
    """
    rows = [PanelRow((), title=request, caption="\n".join(_scores(figures)))]
    for index in shown:
        text, spans = "", []
        for side, captions in sides.items():
            start = len(text) + len(side) + 2
            spans += [(start + mention.start, start + mention.end) for mention in captions[index].hallucinated]
            text += f"{side}: {captions[index].caption}\n"
        caption = next(iter(sides.values()))[index]
        text += f"the image shows: {', '.join(sorted(caption.objects)) or 'nothing that has a name here'}"
        picture = Cell(f"image {caption.image_id}", read_rgb(images[caption.image_id]))
        rows.append(PanelRow([picture], caption=text, spans=spans, colors=[RED] * len(spans)))
    return panel(rows, cell_height=cell_height, width=width, flow=True)


def hallucination_page(
    sides: Sides,
    figures: Mapping[str, Mapping[str, float]],
    images: Mapping[str, str],
    shown: Sequence[int],
    request: str = "",
    wrong_answers: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
) -> str:
    """The same as a page of HTML, which holds its images and all scores.

    Args:
        sides, figures, images, shown, request: see :func:`hallucination_figure`.
        wrong_answers: of each side, by image id: other questions that were answered wrong, with their answers.
    """
    head = "".join(f"<th>{html.escape(side)}</th>" for side in figures)
    lines = [
        f"<tr><th>{html.escape(name)}</th>"
        + "".join(f"<td>{_value(found, name)}</td>" for found in figures.values())
        + "</tr>"
        for name in _names(figures)
    ]
    sections = []
    for index in shown:
        captions = {side: own[index] for side, own in sides.items()}
        first = next(iter(captions.values()))
        said = "".join(f"<p><b>{html.escape(side)}</b>: {_marked(one)}</p>" for side, one in captions.items())
        for side, wrong in (wrong_answers or {}).items():
            if texts := wrong.get(first.image_id):
                listed = "; ".join(map(html.escape, texts))
                said += f"<p><b>{html.escape(side)}</b>, answered wrong: <mark>{listed}</mark></p>"
        objects = html.escape(", ".join(sorted(first.objects)))
        picture = f'<img alt="image {html.escape(first.image_id)}" src="{_inline(images[first.image_id])}">'
        sections.append(
            f"<section>{picture}<div>{said}<small>image {html.escape(first.image_id)} shows: {objects}</small></div></section>"
        )
    return _PAGE.format(
        title="Hallucinated objects",
        red=RED,
        request=html.escape(request),
        table=f"<table><tr><th></th>{head}</tr>{''.join(lines)}</table>",
        sections="\n".join(sections),
    )


def _scores(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """A line for each of the main scores, with that of every side."""
    names = [name for name in _names(figures) if name in _FIGURES or name.endswith(("/accuracy", "/yes_share"))]
    return [
        f"{name.replace('_', ' ')}: " + ", ".join(f"{side} {_value(found, name)}" for side, found in figures.items())
        for name in names
    ]


def _names(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for found in figures.values() for name in found))


def _value(found: Mapping[str, float], name: str) -> str:
    value = found.get(name)
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _marked(caption: ChairCaption) -> str:
    """The caption in HTML, hallucinated words marked."""
    parts, end = [], 0
    for mention in caption.hallucinated:
        parts.append(html.escape(caption.caption[end : mention.start]))
        parts.append(f"<mark>{html.escape(caption.caption[mention.start : mention.end])}</mark>")
        end = mention.end
    return "".join(parts) + html.escape(caption.caption[end:])


def _inline(path: str) -> str:
    """A picture as a data URI, at most 512 pixels wide or high."""
    picture = Image.fromarray(read_rgb(path))
    picture.thumbnail((512, 512))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
