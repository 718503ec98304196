"""What a visitor of the demo has asked and got, and how it is shown and saved; knows nothing of the web framework."""

import io
import json
import re
import zipfile
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image

from lira_plugin.demo.mask_regions import region_svg
from lira_plugin.structures import GroundedText, MaskStage, resize_image
from lira_plugin.structures.answer_exports import ExportedImage, coco_file
from lira_plugin.visualization import Color, answer_html, draw_masks, label_masks, palette, resize_mask, span_labels

SHOWN_SIDES = (480, 1024)
"""Pixels that the longer side of a picture on the page has at least and at most; downloads have the size of the image."""


class Example(NamedTuple):
    """An image, (H, W, 3) uint8, with its name and a question about it."""

    name: str
    image: np.ndarray
    question: str


@dataclass(frozen=True, eq=False)
class Chat:
    """An image with what has been asked about it.

    Args:
        name: of the image's file.
        image: (H, W, 3) uint8.
        turns: questions and answers in order; the answers with the logits of their masks.
    """

    name: str
    image: np.ndarray
    turns: tuple[tuple[str, GroundedText], ...] = ()

    def with_turn(self, question: str, answer: GroundedText) -> "Chat":
        """The chat after one more question."""
        return replace(self, turns=(*self.turns, (question, answer)))

    @property
    def history(self) -> tuple[tuple[str, GroundedText], ...]:
        """The turns that the model is to know: those in which it has said something."""
        return tuple((question, answer) for question, answer in self.turns if answer.text)

    def to_html(self) -> str:
        """The conversation; phrases have the colours of their masks."""
        return "".join(
            answer_html(question, answer, colors) for (question, answer), colors in zip(self.turns, self.colors)
        )

    @property
    def colors(self) -> list[list[Color]]:
        """Colours of the spans of each answer; no two spans of a chat have the same, while there are enough."""
        ends = [0, *accumulate(len(answer.spans) for _, answer in self.turns)]
        colors = palette(ends[-1])
        return [colors[start:end] for start, end in pairwise(ends)]

    def picture(self, turn: int = -1, stage: MaskStage = "refined", threshold: float = 0.5) -> np.ndarray:
        """The image with the masks of an answer, (H', W', 3) uint8, its longer side within ``SHOWN_SIDES``.

        Args:
            turn: index of the answer in ``turns``; there need not be one if it is the last one that is asked for.
            stage: which masks.
            threshold: foreground probability from which on a pixel belongs to a mask.
        """
        height, width = self._shown_size()
        image = resize_image(self.image, height, width)
        if not self.turns:
            return image
        masks = self._shown_masks(turn, stage, threshold)
        colors, labels = self.colors[turn], span_labels(self.turns[turn][1])
        drawn = draw_masks(image, masks, colors)
        return label_masks(drawn, masks, labels, colors) if labels else drawn

    def regions(self, turn: int = -1, stage: MaskStage = "refined", threshold: float = 0.5) -> str:
        """What lies over :meth:`picture`, with the same arguments: SVG of which each region says its phrase and score."""
        if not self.turns:
            return ""
        spans = self.turns[turn][1].at(threshold).spans
        labels = [f"{span.phrase or 'no phrase'} {span.score_of(stage):.2f}" for span in spans]
        return region_svg(self._shown_masks(turn, stage, threshold), labels, self.colors[turn])

    def _shown_size(self) -> tuple[int, int]:
        """(height, width) of the picture."""
        height, width = self.image.shape[:2]
        scale = float(np.clip(max(height, width), *SHOWN_SIDES)) / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _shown_masks(self, turn: int, stage: MaskStage, threshold: float) -> list[np.ndarray]:
        height, width = self._shown_size()
        return [resize_mask(span.mask_of(stage), (width, height)) for span in self.turns[turn][1].at(threshold).spans]

    def mask_zip(self, stage: MaskStage = "refined", threshold: float = 0.5) -> bytes:
        """A zip file with a PNG a mask, 0 and 255, of all answers: ``<turn>_<span>_<phrase>.png``, counted from 1."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:  # a PNG is compressed already
            for turn_index, (_, answer) in enumerate(self.turns, 1):
                for span_index, span in enumerate(answer.at(threshold).spans, 1):
                    png = io.BytesIO()
                    Image.fromarray(span.mask_of(stage).astype(np.uint8) * 255).save(png, "PNG")
                    archive.writestr(f"{turn_index:02d}_{span_index:02d}_{_file_name(span.phrase)}.png", png.getvalue())
        return buffer.getvalue()

    def mask_json(self, threshold: float = 0.5) -> bytes:
        """All answers with refined and coarse masks as COCO's compressed RLE.

        ``{"image", "size": [height, width], "threshold", "answers"}``; an answer is its ``question`` and what
        :meth:`~lira_plugin.structures.GroundedText.to_json` gives.
        """
        answers = [{"question": question, **answer.at(threshold).to_json()} for question, answer in self.turns]
        size = [int(side) for side in self.image.shape[:2]]
        content = {"image": self.name, "size": size, "threshold": threshold, "answers": answers}
        return json.dumps(content, ensure_ascii=False, indent=1).encode()

    def coco_json(self, stage: MaskStage = "refined", threshold: float = 0.5) -> bytes:
        """The masks of all answers as a COCO file of one image, whose categories are the phrases."""
        spans = [
            replace(span, mask=span.mask_of(stage), score=span.score_of(stage))
            for _, answer in self.turns
            for span in answer.at(threshold).spans
        ]
        content = coco_file([ExportedImage(spans, self.name, self.image.shape[:2])])
        return json.dumps(content, ensure_ascii=False).encode()

    def picture_png(self, turn: int = -1, stage: MaskStage = "refined", threshold: float = 0.5) -> bytes:
        """:meth:`picture` as a file."""
        png = io.BytesIO()
        Image.fromarray(self.picture(turn, stage, threshold)).save(png, "PNG")
        return png.getvalue()


def _file_name(phrase: str) -> str:
    """Letters and digits of a phrase."""
    return re.sub(r"\W+", "-", phrase).strip("-")[:60] or "mask"
