"""The entries of JSON Lines files that people write: questions, and questions with answers and masks."""

from typing import Any

import msgspec

from lira_plugin.datasets.entries import Entry, FileName, Id, NotBlank, check_segmentation


class QuestionLine(Entry, forbid_unknown_fields=True):
    """A line of a file of questions."""

    image: FileName
    question: NotBlank
    task: str = ""


class GroundedLine(Entry, forbid_unknown_fields=True):
    """A line of one's own questions and answers; ``spans`` are :class:`LineSpan`."""

    question: NotBlank
    answer: NotBlank
    image: FileName | None = None
    spans: list[Any] = []
    id: Id | None = None


class LineSpan(Entry, forbid_unknown_fields=True):
    """A phrase of a line with its mask: ``start`` and ``end``, or ``phrase``; ``segmentation``, or ``mask``, a file."""

    start: int | None = None
    end: int | None = None
    phrase: NotBlank | None = None
    segmentation: Any = msgspec.UNSET
    mask: FileName | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.phrase is None) == (self.start is None) or (self.start is None) != (self.end is None):
            raise ValueError("it must have either 'phrase', or 'start' and 'end'")
        if (self.mask is None) == (self.segmentation is msgspec.UNSET):
            raise ValueError("it must have either 'segmentation' or 'mask'")
        check_segmentation("segmentation", self.segmentation)
