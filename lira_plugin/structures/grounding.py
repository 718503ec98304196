"""What flows between data, model and metrics.

Shape letters: B samples, L positions of the LLM's sequence, N images, T tiles, R regions with a view, M masks, K ``<seg>``
tokens, S side of the letterboxed image, t side of a tile, H x W an original image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from lira_plugin.structures.answer_exports import ExportedImage, coco_file, detections, labelme_file
from lira_plugin.structures.answer_truth import AnswerTruth
from lira_plugin.structures.attribute_truth import AttributeTruth
from lira_plugin.structures.conversation import Region
from lira_plugin.structures.letterbox import Letterbox
from lira_plugin.structures.mask_shapes import Box, mask_box, mask_boxes, outlines
from lira_plugin.structures.masks import encode_mask, logit_of

IGNORE_INDEX = -100
"""Label of a row without supervision."""

MaskStage = Literal["refined", "coarse"]
"""The masks of a span: decoded after and before its phrase."""

WordLogProbs = Mapping[str, Mapping[str, float]]
"""Log of the probability of each value (a word) of each kind of attribute, among all texts that might follow a ``<seg>``."""


_SHOWN_SPANS, _SHOWN_TEXT = 3, 80
"""Spans and characters in the repr of an answer."""


class TokenKind(IntEnum):
    """What a row of the LLM sequence holds. Rows other than TEXT are replaced by features."""

    TEXT = 0
    SEMANTIC = 1
    SEMANTIC_SEPARATOR = 2
    PIXEL = 3
    PIXEL_SEPARATOR = 4
    OBJECT = 5
    VIEW = 6


@dataclass
class GroundingSample:
    """One sample after the transforms, on the CPU.

    Args:
        source: data set and split; metrics group by it.
        record_id: identifies the record inside its source.
        input_ids: (L,) long; positions of features hold the padding id.
        labels: (L,) long, ``IGNORE_INDEX`` where nothing is supervised.
        kinds: (L,) long, :class:`TokenKind` of each row.
        pixel_images: (N, 3, S, S) uint8, letterboxed images for the pixel encoder.
        tiles: (T, 3, t, t) uint8, tiles for the semantic encoder, image by image.
        tile_counts: tiles of each image.
        view_tiles: (R, 3, t, t) uint8, crops in the order of their ``<image_id>``.
        masks: (M, S, S) bool, letterboxed ground truth of the regions that the sequence (or segmenter) learns.
        mask_labels: (M,) long category index, -1 where there is none.
        seg_mask_index: (K,) long; ``seg_mask_index[k]`` is the mask that the k-th ``<seg>`` of the sequence is to decode to.
        dropped_regions: regions that did not fit into the maximum length.
        empty_regions: regions that are not learnt, as their mask has no pixel in the letterboxed square.
        cut_answers: answers that lost their end, or all, to the maximum length.
        letterbox: geometry of ``pixel_images[0]``.
        image: (H, W, 3) uint8 original, kept where regions are cropped while generating.
        regions: annotations at original size, kept for evaluation.
        question: the last question, kept for evaluation.
        image_key: samples of a batch with the same key show the same image, which is then encoded once; None shares nothing.
        forced_ids: tokens that the answer begins with, whatever the model would say; they are the whole answer where they end
            with a ``<seg>``.
        index: of the record in its data set, by which metrics put the answers of all processes in order.
        truth: what the answer in words, or the state of its ``<seg>``, is scored by, kept for evaluation; or None.
    """

    source: str
    record_id: str
    input_ids: Tensor
    labels: Tensor
    kinds: Tensor
    pixel_images: Tensor
    tiles: Tensor
    tile_counts: tuple[int, ...]
    view_tiles: Tensor
    masks: Tensor
    mask_labels: Tensor
    seg_mask_index: Tensor
    dropped_regions: int = 0
    empty_regions: int = 0
    cut_answers: int = 0
    letterbox: Letterbox | None = None
    image: np.ndarray | None = None
    regions: tuple[Region, ...] = ()
    question: str = ""
    image_key: str | None = None
    forced_ids: tuple[int, ...] = ()
    index: int | None = None
    truth: AnswerTruth | AttributeTruth | None = None

    @property
    def name(self) -> str:
        """Source and record id, for messages."""
        return f"{self.source} record {self.record_id}"


class GroundingBatch(NamedTuple):
    """A batch of samples; everything that can vary in number is flat with an owner index."""

    input_ids: Tensor
    """(B, L) long, padded on the right."""
    attention_mask: Tensor
    """(B, L) bool; object tokens are cleared later, when the segmenter has said which of them it uses."""
    labels: Tensor
    """(B, L) long."""
    kinds: Tensor
    """(B, L) long, :class:`TokenKind`."""
    pixel_images: Tensor
    """(N, 3, S, S) uint8."""
    block_sample: Tensor
    """(K',) long, sample of each visual block in row-major order."""
    block_image: Tensor
    """(K',) long, image of each visual block; questions about the same image share it."""
    tiles: Tensor
    """(T, 3, t, t) uint8."""
    tile_image: Tensor
    """(T,) long, image of each tile, ascending."""
    view_tiles: Tensor
    """(R, 3, t, t) uint8."""
    view_sample: Tensor
    """(R,) long, sample of each region view, ascending."""
    masks: Tensor
    """(M, S, S) bool."""
    mask_image: Tensor
    """(M,) long, image of each mask."""
    mask_labels: Tensor
    """(M,) long."""
    seg_mask_index: Tensor
    """(K,) long, index into ``masks`` of each ``<seg>`` in row-major order of the batch."""
    dropped_regions: Tensor
    """(B,) long; as the two below, what the samples say of themselves."""
    empty_regions: Tensor
    """(B,) long."""
    cut_answers: Tensor
    """(B,) long."""


@dataclass(frozen=True, repr=False)
class GroundedSpan:
    """The phrase ``text[start:end]`` with its masks at original resolution.

    Args:
        start: first character of the phrase in the text.
        end: one past its last character.
        phrase: the phrase.
        mask: (H, W) bool, the refined mask; the coarse one where the text ended before the second ``<seg>``.
        coarse_mask: (H, W) bool, decoded before the phrase; None without ILVC.
        score: mean foreground probability inside ``mask``, 0 for an empty mask.
        logits: (H, W) fp32 logits of ``mask``, where they were asked for.
        refined: whether ``mask`` was decoded after the phrase; else it is the coarse one.
        coarse_logits: (H, W) fp32 logits of ``coarse_mask``, where they were asked for.
        phrase_prob: probability that the model gave to the phrase as it chose its words: the product of the probabilities of its
            tokens and of the ``</p>`` behind them. None without ``<p>``, or where the text was given.
        coarse_score: mean foreground probability inside ``coarse_mask``, 0 for an empty mask; None where there is none.
        words: what the LLM would say at the ``<seg>`` of ``mask``, where words were asked for (``generation.seg_words``).
        coarse_words: the same at the ``<seg>`` of ``coarse_mask``; None where there is none.
    """

    start: int
    end: int
    phrase: str
    mask: np.ndarray
    coarse_mask: np.ndarray | None = None
    score: float = 0.0
    logits: np.ndarray | None = None
    refined: bool = True
    coarse_logits: np.ndarray | None = None
    phrase_prob: float | None = None
    coarse_score: float | None = None
    words: WordLogProbs | None = None
    coarse_words: WordLogProbs | None = None

    def mask_of(self, stage: MaskStage) -> np.ndarray:
        """(H, W) bool; without ILVC there is one mask, which is both views."""
        return self.coarse_mask if stage == "coarse" and self.coarse_mask is not None else self.mask

    def score_of(self, stage: MaskStage) -> float:
        """Mean foreground probability inside the mask of a stage."""
        return self.coarse_score if stage == "coarse" and self.coarse_score is not None else self.score

    def words_of(self, stage: MaskStage) -> WordLogProbs | None:
        """The words at the ``<seg>`` of a stage."""
        return self.coarse_words if stage == "coarse" and self.coarse_words is not None else self.words

    def at(self, threshold: float) -> "GroundedSpan":
        """The span as if it had been generated with another threshold, from the logits that were kept.

        Args:
            threshold: foreground probability from which on a pixel belongs to a mask, between 0 and 1.

        Raises:
            ValueError: the logits were not kept, or the threshold is out of range.
        """
        if self.logits is None or (self.coarse_logits is None) != (self.coarse_mask is None):
            raise ValueError(f"the logits of {self.phrase!r} were not kept, so its masks cannot be thresholded again")
        level = logit_of(threshold)
        mask = self.logits > level
        coarse = coarse_score = None
        if self.coarse_logits is not None:
            coarse = self.coarse_logits > level
            coarse_score = _mean_inside(self.coarse_logits, coarse)
        return replace(
            self, mask=mask, coarse_mask=coarse, score=_mean_inside(self.logits, mask), coarse_score=coarse_score
        )

    @property
    def rle(self) -> dict[str, Any]:
        """``mask`` as COCO's compressed RLE, ready for JSON."""
        return encode_mask(self.mask)

    @property
    def box(self) -> Box | None:
        """Left, top, right and bottom edge of ``mask`` in pixels; None where it is empty."""
        return mask_box(self.mask)

    @property
    def polygons(self) -> list[list[int]]:
        """The outlines of the pieces of ``mask`` as COCO has them, ``[[x, y, x, y, ...], ...]``; holes are filled."""
        return outlines(self.mask)

    def __repr__(self) -> str:
        height, width = self.mask.shape
        pixels = f"{np.count_nonzero(self.mask)} pixels of {width} x {height}"
        return f"{type(self).__name__}({self.phrase!r}, score {self.score:.2f}, {pixels})"


def _mean_inside(logits: np.ndarray, mask: np.ndarray) -> float:
    return float((1 / (1 + np.exp(-logits[mask]))).mean()) if mask.any() else 0.0


@dataclass(frozen=True, repr=False)
class GroundedText:
    """An answer with the regions of its phrases.

    Args:
        text: the answer without special tokens.
        spans: grounded phrases in order.
        raw_text: the answer as generated, with special tokens.
        finished: whether the model ended the answer itself, not the token limit.
        seg_prob: probability that the model gave, as it chose the first token, to those that begin a grounded phrase: how sure
            it is that there is something to find. None where the first token was forced.
    """

    text: str
    spans: tuple[GroundedSpan, ...] = ()
    raw_text: str = ""
    finished: bool = True
    seg_prob: float | None = None

    def at(self, threshold: float) -> "GroundedText":
        """The answer with all of its masks at another threshold, see :meth:`GroundedSpan.at`."""
        return replace(self, spans=tuple(span.at(threshold) for span in self.spans))

    @property
    def boxes(self) -> np.ndarray:
        """(K, 4) float32, left, top, right and bottom edge of the mask of each span in pixels; zeros for an empty mask."""
        return mask_boxes([span.mask for span in self.spans])

    def to_coco(
        self,
        file_name: str | None = None,
        size: tuple[int, int] | None = None,
        *,
        polygons: bool = False,
        classes: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """The answer as a COCO file with one image, see :func:`~lira_plugin.structures.answer_exports.coco_file`.

        Args:
            file_name: of the image; None where it is not known.
            size: (height, width) of the image; None takes that of the masks.
            polygons: write outlines, which fill holes; else compressed RLE.
            classes: phrases that are categories, with the ids 1, 2, ...; None takes those of the spans.

        Raises:
            ValueError: the size is unknown, or a phrase is not among ``classes``.
        """
        return coco_file([ExportedImage(self.spans, file_name or "", size)], polygons=polygons, classes=classes)

    def to_labelme(self, file_name: str | None = None, size: tuple[int, int] | None = None) -> dict[str, Any]:
        """The answer as a LabelMe file of polygons; pieces of a mask have a ``group_id`` in common, and holes are filled.

        Args:
            file_name: of the image, relative to the folder of the file; None where it is not known.
            size: (height, width) of the image; None takes that of the masks.

        Raises:
            ValueError: the size is unknown.
        """
        return labelme_file(ExportedImage(self.spans, file_name or "", size))

    def to_supervision(self, classes: Sequence[str] | None = None) -> Any:
        """The spans as ``supervision.Detections``, with phrases as ``data["class_name"]``.

        Args:
            classes: phrases in the order of their class ids; None takes those of the spans.

        Raises:
            ImportError: supervision is not installed.
            ValueError: a phrase is not among ``classes``.
        """
        return detections(self.spans, classes)

    def __repr__(self) -> str:
        text = self.text if len(self.text) <= _SHOWN_TEXT else self.text[: _SHOWN_TEXT - 3] + "..."
        named = [f"{span.phrase!r} {span.score:.2f}" for span in self.spans[:_SHOWN_SPANS]]
        named += ["..."] * (len(self.spans) > _SHOWN_SPANS)
        said = "".join([", cut off"] * (not self.finished) + [f", masks: {', '.join(named)}"] * bool(named))
        return f"{type(self).__name__}({text!r}{said})"

    def to_json(self) -> dict[str, Any]:
        """The answer in plain types: masks as COCO's compressed RLE, ``segmentation`` and ``coarse_segmentation``.

        Spans whose words were asked for have ``words`` and ``coarse_words`` too.
        """
        return {
            "text": self.text,
            "raw_text": self.raw_text,
            "finished": self.finished,
            "seg_prob": self.seg_prob,
            "spans": [
                {
                    "start": span.start,
                    "end": span.end,
                    "phrase": span.phrase,
                    "score": span.score,
                    "coarse_score": span.coarse_score,
                    "phrase_prob": span.phrase_prob,
                    "segmentation": span.rle,
                    "coarse_segmentation": None if span.coarse_mask is None else encode_mask(span.coarse_mask),
                }
                | ({} if span.words is None else {"words": span.words, "coarse_words": span.coarse_words})
                for span in self.spans
            ],
        }
