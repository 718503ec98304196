"""What a model answers to a list of questions, as one figure."""

from collections.abc import Callable, Sequence

import numpy as np
from tqdm import tqdm

from lira_plugin.datasets.question_files import ImageQuestion
from lira_plugin.datasets.transforms import read_rgb
from lira_plugin.structures import GroundedText
from lira_plugin.visualization.answers import answer_row
from lira_plugin.visualization.figure import panel

Ask = Callable[[Sequence[str], Sequence[str]], list[GroundedText]]
"""From paths of images and a question about each to answers, such as a ``LIRAInferencer``."""


def draw_panels(
    ask: Ask,
    questions: Sequence[ImageQuestion],
    *,
    before: Sequence[GroundedText] | None = None,
    draw_coarse: bool = True,
    cell_height: int = 180,
    width: int = 1600,
    font_size: int = 16,
    font: str | None = None,
    batch_size: int = 8,
) -> np.ndarray:
    """Ask, and draw image, question, answer with coloured phrases, and masks, in the order of the questions.

    Args:
        ask: the model.
        questions: with ground truth or without.
        before: other answers to the same questions, such as those before a training; each is drawn above the new one.
        draw_coarse: show coarse masks beside the refined ones.
        cell_height, width, font_size, font: see :func:`~lira_plugin.visualization.panel`.
        batch_size: questions asked at a time.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ValueError: there is no question, or not one answer ``before`` for each, or the figure's sizes are too small.
    """
    if before is not None and len(before) != len(questions):
        raise ValueError(f"there are {len(before)} answers before for {len(questions)} questions")
    rows = []
    with tqdm(questions, desc="questions", disable=None) as bar:
        for start in range(0, len(questions), batch_size):
            asked = questions[start : start + batch_size]
            answers = ask([item.image for item in asked], [item.question for item in asked])
            for index, (item, answer) in enumerate(zip(asked, answers, strict=True), start):
                pixels = read_rgb(item.image)
                shown = [("", answer)] if before is None else [("before", before[index]), ("after", answer)]
                rows += [
                    answer_row(
                        pixels,
                        text,
                        question=item.question,
                        heading=f"{item.task} {name}".strip(),
                        regions=item.regions,
                        draw_image=True,
                        draw_coarse=draw_coarse,
                    )
                    for name, text in shown
                ]
            bar.update(len(asked))
    return panel(rows, cell_height=cell_height, width=width, flow=True, font_size=font_size, font=font)
