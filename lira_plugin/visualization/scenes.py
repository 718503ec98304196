"""The picture of the quickstart: what a model makes of scenes it has not seen."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from lira_plugin.datasets import GCG_QUESTIONS, ReferSegDataset
from lira_plugin.datasets.scene_files import SceneFiles
from lira_plugin.structures import GroundedText, decode_union, refer_question
from lira_plugin.visualization.figure import Cell, PanelRow, panel
from lira_plugin.visualization.overlay import palette

Ask = Callable[[str | Path, Sequence[str]], list[GroundedText]]


def scene_panel(ask: Ask, files: SceneFiles, num_expressions: int = 5, num_captions: int = 3) -> np.ndarray:
    """Draw expressions of val scenes with ground truth, coarse and refined mask, then grounded captions.

    Args:
        ask: from an image and questions to answers, such as a ``LIRAInferencer``.
        files: the scenes.
        num_expressions: rows of referring segmentation.
        num_captions: rows of grounded captions.

    Returns:
        (H, W, 3) uint8.
    """
    data = ReferSegDataset(str(files.root), "refcoco", "val", str(files.images))
    rng = np.random.default_rng(0)
    indices = [int(index) for index in np.linspace(0, len(data) - 1, num_expressions)]
    rows = [_expression_row(ask, data.get_record(index, rng)) for index in indices]
    images = sorted({data.get_record(index, rng).image_path for index in range(len(data))})[:num_captions]
    return panel([*rows, *(_caption_row(ask, path) for path in images)], cell_height=200)


def _expression_row(ask: Ask, record) -> PanelRow:
    image = _read(record.image_path)
    truth = decode_union(record.regions[0].segmentations, *image.shape[:2])
    phrase = record.regions[0].phrase
    [answer] = ask(record.image_path, [refer_question(phrase)])
    nothing = np.zeros_like(truth)
    span = answer.spans[0] if answer.spans else None
    refined = span.mask if span else nothing
    coarse = span.coarse_mask if span and span.coarse_mask is not None else refined
    cells = [Cell("image", image)]
    cells += [
        Cell(name, image, [mask])
        for name, mask in (("ground truth", truth), ("coarse mask", coarse), ("refined mask", refined))
    ]
    return PanelRow(cells, title=refer_question(phrase))


def _caption_row(ask: Ask, path: str) -> PanelRow:
    [answer] = ask(path, [GCG_QUESTIONS[0]])
    colors = palette(max(len(answer.spans), 1))[: len(answer.spans)]
    image = _read(path)
    cells = [Cell("image", image), Cell("refined masks", image, [span.mask for span in answer.spans], colors)]
    # a <seg> outside of any phrase has a mask but no characters to colour
    named = [(span, color) for span, color in zip(answer.spans, colors) if span.start < span.end]
    spans = [(span.start, span.end) for span, _ in named]
    return PanelRow(
        cells, title="Grounded caption", caption=answer.text, spans=spans, colors=[color for _, color in named]
    )


def _read(path: str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))
