"""The least that metrics need: the masks of an image that are true, and those that any model gives."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lira_plugin.structures.conversation import Region
from lira_plugin.structures.grounding import GroundedSpan, GroundedText, GroundingSample, MaskStage
from lira_plugin.structures.letterbox import Letterbox
from lira_plugin.structures.masks import decode_union, encode_mask

Masks = np.ndarray | Tensor | Sequence[np.ndarray | Tensor]


@dataclass(frozen=True, eq=False)
class MaskTarget:
    """What is true of one image or sentence, at the size of the image.

    Args:
        masks: (M, H, W) bool, or one mask (H, W). None at all, (0, H, W), says that there is nothing to find.
        phrases: one for each mask, or none.
        labels: category index of each mask, or none.
        ignored: (H, W) bool, pixels that do not count, or None.
        source: data set and split; metrics group by it.
        record_id: identifies the image or sentence inside its source.
        index: of the record in its data set; metrics need it where several processes evaluate.
        question: what was asked, for files that metrics write.

    Raises:
        ValueError: masks are not of bool, not of one size, or there are more or fewer phrases or labels than masks.
    """

    masks: Masks
    phrases: Sequence[str] = ()
    _: KW_ONLY
    labels: Sequence[int] | Tensor = ()
    ignored: np.ndarray | Tensor | None = None
    source: str = "masks"
    record_id: str = ""
    index: int | None = None
    question: str = ""

    def __post_init__(self) -> None:
        _settle(self, phrases=str, labels=int)
        if self.ignored is not None:
            _set(self, ignored=_bool_masks(self.ignored, f"{self.source} record {self.record_id}: ignored")[0])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.masks.shape[1:]

    @classmethod
    def of_sample(cls, sample: GroundingSample) -> "MaskTarget":
        """The regions of a sample that name something in the image, at its original size.

        Raises:
            ValueError: the sample does not know the size of its image, or an annotation has another.
        """
        if sample.letterbox is None and sample.image is None:
            raise ValueError(
                f"{sample.name}: neither the letterbox nor the image was kept, so the image size is unknown"
            )
        box = sample.letterbox
        height, width = (box.height, box.width) if box is not None else sample.image.shape[:2]
        regions = [region for region in sample.regions if region.has_target]
        masks = [decode_union(region.segmentations, height, width) for region in regions]
        ignored = [part for region in sample.regions for part in region.ignored]
        return cls(
            np.stack(masks) if masks else np.zeros((0, height, width), bool),
            [region.phrase for region in regions],
            labels=[region.category_id for region in regions],
            ignored=decode_union(ignored, height, width) if ignored else None,
            source=sample.source,
            record_id=sample.record_id,
            index=sample.index,
            question=sample.question,
        )

    def sample(self) -> GroundingSample:
        """The same as a sample without a sequence, whose letterbox says the size of the image alone."""
        nothing = torch.zeros(0, dtype=torch.long)
        height, width = self.size
        ignored = () if self.ignored is None else (encode_mask(self.ignored),)
        labels = self.labels or (-1,) * len(self.masks)
        regions = [
            Region(phrase, (encode_mask(mask),), label, ignored)
            for mask, phrase, label in zip(self.masks, self.phrases or ("",) * len(self.masks), labels, strict=True)
        ]
        return GroundingSample(
            source=self.source,
            record_id=self.record_id,
            input_ids=nothing,
            labels=nothing,
            kinds=nothing,
            pixel_images=torch.zeros((0, 3, 1, 1), dtype=torch.uint8),
            tiles=torch.zeros((0, 3, 1, 1), dtype=torch.uint8),
            tile_counts=(),
            view_tiles=torch.zeros((0, 3, 1, 1), dtype=torch.uint8),
            masks=torch.from_numpy(self.masks),
            mask_labels=torch.tensor(labels, dtype=torch.long),
            seg_mask_index=nothing,
            letterbox=Letterbox(height, width, max(height, width)),
            regions=tuple(regions) or (Region("", (), ignored=ignored),),
            question=self.question,
            index=self.index,
        )


@dataclass(frozen=True, eq=False)
class MaskPrediction:
    """What a model says of one image or sentence, at the size of the image.

    Args:
        masks: (K, H, W) bool, or one mask (H, W); (0, H, W) where the model finds nothing. Where a metric takes one mask of an
            answer, it is the first.
        phrases: one for each mask, or none.
        scores: between 0 and 1, one for each mask; 1 where there are none.
        labels: category index of each mask, or none.
        text: the answer in words, such as the caption.

    Raises:
        ValueError: masks are not of bool, not of one size, or there are more or fewer phrases, scores or labels than masks.
    """

    masks: Masks
    phrases: Sequence[str] = ()
    _: KW_ONLY
    scores: Sequence[float] | Tensor = ()
    labels: Sequence[int] | Tensor = ()
    text: str = ""

    def __post_init__(self) -> None:
        _settle(self, phrases=str, scores=float, labels=int)

    @classmethod
    def of_text(cls, answer: GroundedText, size: tuple[int, int], stage: MaskStage = "refined") -> "MaskPrediction":
        """The masks of an answer.

        Args:
            answer: the answer.
            size: (height, width) of the image, for an answer without masks.
            stage: which of the two masks of a phrase.
        """
        masks = [span.mask_of(stage) for span in answer.spans]
        return cls(
            np.stack(masks) if masks else np.zeros((0, *size), bool),
            [span.phrase for span in answer.spans],
            scores=[span.score_of(stage) for span in answer.spans],
            text=answer.text,
        )

    def grounded_text(self) -> GroundedText:
        """The same as an answer. Phrases that the text does not spell stand at its start."""
        spans, end = [], 0
        phrases, scores = self.phrases or ("",) * len(self.masks), self.scores or (1.0,) * len(self.masks)
        for mask, phrase, score in zip(self.masks, phrases, scores, strict=True):
            start = self.text.find(phrase, end) if phrase else -1
            if start >= 0:
                end = start + len(phrase)
            spans.append(GroundedSpan(max(start, 0), end if start >= 0 else 0, phrase, mask, score=score))
        return GroundedText(self.text, tuple(spans))

    def instances(self) -> Mapping[str, Tensor]:
        """``masks`` (K, H, W), ``scores`` (K,) and, where there are any, ``labels`` (K,), as a segmenter answers."""
        found = {"masks": torch.from_numpy(self.masks)}
        found["scores"] = torch.tensor(self.scores or (1.0,) * len(self.masks))
        if self.labels or not len(self.masks):
            found["labels"] = torch.tensor(self.labels, dtype=torch.long)
        return found


def _settle(pair: MaskTarget | MaskPrediction, **kinds: type) -> None:
    """Make an array of the masks, and tuples of plain values of what goes with each of them."""
    name = f"{pair.source} record {pair.record_id}: " if isinstance(pair, MaskTarget) else ""
    masks = _bool_masks(pair.masks, f"{name}masks of a {type(pair).__name__}")
    _set(pair, masks=masks)
    for field, kind in kinds.items():
        values = getattr(pair, field)
        if isinstance(values, str):
            values = (values,)
        values = tuple(kind(value) for value in values)
        if values and len(values) != len(masks):
            raise ValueError(
                f"{name}a {type(pair).__name__} has {len(masks)} masks but {len(values)} {field}: {values!r:.80}"
            )
        _set(pair, **{field: values})


def _set(pair: Any, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(pair, name, value)


def _bool_masks(masks: Masks, name: str) -> np.ndarray:
    """(M, H, W) bool of what may be a tensor, a list or one mask."""
    if isinstance(masks, Tensor):
        masks = masks.detach().cpu().numpy()
    elif not isinstance(masks, np.ndarray):
        parts = [part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part) for part in masks]
        if len({part.shape for part in parts}) > 1:
            raise ValueError(f"{name} must be of one size, got {sorted({part.shape for part in parts})}")
        masks = np.stack(parts) if parts else np.zeros(0, bool)
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim != 3 or masks.dtype != bool or not all(masks.shape[1:]):
        raise ValueError(
            f"{name} must be bool of shape (masks, height, width) or (height, width), got {masks.dtype} {masks.shape}: "
            "threshold probabilities first, and give (0, height, width) where there is no mask"
        )
    return masks
