"""Grounded conversations: what was asked and answered, and which phrases own a region."""

from dataclasses import dataclass
from typing import Any, Literal

from lira_plugin.structures.answer_truth import AnswerTruth
from lira_plugin.structures.attribute_truth import AttributeTruth

ExifRule = Literal["apply", "ignore"]
"""Whether the annotations of a data set are of upright images, or of the pixels as the files store them."""


@dataclass(frozen=True)
class PhraseSpan:
    """The phrase ``answer[start:end]`` and the index of the region it names."""

    start: int
    end: int
    region: int


@dataclass(frozen=True)
class Turn:
    """One question with its answer; ``spans`` are ordered and do not overlap.

    Raises:
        ValueError: a span is empty, outside of the answer, or overlaps the one before it.
    """

    question: str
    answer: str
    spans: tuple[PhraseSpan, ...] = ()

    def __post_init__(self) -> None:
        end = 0
        for span in self.spans:
            if not 0 <= span.start < span.end <= len(self.answer):
                raise ValueError(
                    f"span [{span.start}, {span.end}) is empty or outside of the answer, which has {len(self.answer)} "
                    f"characters: {self.answer!r}"
                )
            if span.start < end:
                raise ValueError(
                    f"span [{span.start}, {span.end}) overlaps the span before it, which ends at {end}, or is out of "
                    f"order, in {self.answer!r}"
                )
            end = span.end


@dataclass(frozen=True)
class Conversation:
    """Turns in order. Each region is named by at most one span."""

    turns: tuple[Turn, ...]

    def __post_init__(self) -> None:
        if not self.turns:
            raise ValueError("a conversation needs at least one turn")
        named = [span.region for turn in self.turns for span in turn.spans]
        if len(set(named)) != len(named):
            raise ValueError(f"a region is named by more than one span: regions in order of mention {named}")

    @property
    def mentioned_regions(self) -> tuple[int, ...]:
        """Region indices in order of mention."""
        return tuple(span.region for turn in self.turns for span in turn.spans)


@dataclass(frozen=True)
class Region:
    """A grounded object: its phrase and annotation.

    Args:
        phrase: what the text calls it.
        segmentations: annotations whose union is the mask, each in any COCO form (polygons, compressed or uncompressed
            RLE, a list of RLEs, or empty); no entry at all means "no target". A mask without a pixel does not: nothing is
            learnt of it, and no answer to it is right.
        category_id: COCO category, or -1.
        ignored: annotations whose pixels do not count in an evaluation, in the same forms.
    """

    phrase: str
    segmentations: tuple[Any, ...]
    category_id: int = -1
    ignored: tuple[Any, ...] = ()

    @property
    def has_target(self) -> bool:
        """Whether the annotation names something in the image, be its mask without a pixel."""
        return len(self.segmentations) > 0


@dataclass(frozen=True)
class Record:
    """What a dataset yields: one conversation about at most one image, with its regions.

    Args:
        source: name of the data set and split, such as ``refcoco/val``; metrics group by it.
        record_id: identifies the record inside its source, for messages and dumps.
        image_path: path of the image file, or None for text only.
        size: (height, width) that the annotation states, or None.
        exif: whether the image is to be turned as its EXIF orientation says.
        truth: what the answer in words, or the state of its ``<seg>``, is scored by, or None.
    """

    source: str
    record_id: str
    image_path: str | None
    conversation: Conversation
    regions: tuple[Region, ...] = ()
    size: tuple[int, int] | None = None
    exif: ExifRule = "apply"
    truth: AnswerTruth | AttributeTruth | None = None

    def __post_init__(self) -> None:
        for index in self.conversation.mentioned_regions:
            if not 0 <= index < len(self.regions):
                raise ValueError(
                    f"{self.source} record {self.record_id}: a span names region {index}, but there are {len(self.regions)}"
                )
