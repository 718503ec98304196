"""What readers of phrases with a mask each share: a training draws phrases of an image, an evaluation asks each."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lira_plugin.datasets.empty_masks import EMPTY_EXPRESSION
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline
from lira_plugin.datasets.mask_values import MaskFile
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.structures import Conversation, ExifRule, FaultKind, Record, Region, is_empty_annotation, refer_turn


@dataclass(frozen=True)
class PhraseMask:
    """A phrase and the mask of what it names.

    Args:
        record_id: in messages and results.
        image_path: path of the image.
        phrase: lower-case.
        masks: COCO forms or :class:`~lira_plugin.datasets.mask_values.MaskFile`, whose union is the mask.
        size: (height, width) that the annotation states, or None.
    """

    record_id: str
    image_path: str
    phrase: str
    masks: tuple[Any, ...]
    size: tuple[int, int] | None = None


class PhraseMaskDataset(GroundingDataset):
    """Base of the readers whose files are phrases with a mask each.

    * Training (``num_expressions=N``): one record an image, up to N phrases as turns, drawn without replacement.
    * Evaluation (``num_expressions=None``): one record a phrase, in file order.

    A phrase without text is left out, which is logged. So is, of a training, one whose mask has no pixel, as far as its form
    tells; in an evaluation no answer finds it.

    Args:
        source: data set and split.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        num_expressions: most phrases a record when training; None for evaluation.
        seed: seed of the random choices.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        ValueError: ``num_expressions`` is not positive.
    """

    def __init__(
        self, source: str, pipeline: Pipeline | None, num_expressions: int | None, seed: int, exif: ExifRule
    ) -> None:
        if num_expressions is not None and num_expressions < 1:
            raise ValueError(f"num_expressions must be positive, or None for evaluation, got {num_expressions}")
        super().__init__(source, pipeline, seed, exif)
        self.num_expressions = num_expressions
        self._records: list[tuple[PhraseMask, ...]] = []

    def _take(self, phrases: Iterable[PhraseMask], path: str, report: ReaderReport) -> None:
        """Make the records of the phrases.

        Raises:
            BadRecords: some of the file cannot be used, and are not to be left out.
            NoRecords: nothing is left.
        """
        kept = []
        for item in phrases:
            empty = not any(isinstance(mask, MaskFile) or not is_empty_annotation(mask) for mask in item.masks)
            if not item.phrase:
                report.left_out(path, item.record_id, "the phrase is empty", kind=FaultKind.EMPTY_TEXT)
            elif empty and self.num_expressions is not None:
                report.left_out(path, item.record_id, EMPTY_EXPRESSION, kind=FaultKind.EMPTY_MASK)
            else:
                if empty:
                    report.taken(
                        path, item.record_id, EMPTY_EXPRESSION, "no answer finds it", kind=FaultKind.EMPTY_MASK
                    )
                kept.append(item)
        self.findings = report.finish()
        if not kept:
            raise report.nothing_left(path, "phrase with a mask")
        if self.num_expressions is None:
            self._records = [(item,) for item in kept]
        else:
            images: dict[str, list[PhraseMask]] = {}
            for item in kept:
                images.setdefault(item.image_path, []).append(item)
            self._records = [tuple(group) for group in images.values()]

    def __len__(self) -> int:
        return len(self._records)

    @property
    def image_paths(self) -> list[str | None]:
        """The image of each record."""
        return [phrases[0].image_path for phrases in self._records]

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``: one phrase, or phrases drawn with ``rng`` for training."""
        phrases = self._records[index]
        if self.num_expressions is not None:
            count = min(self.num_expressions, len(phrases))
            phrases = [phrases[drawn] for drawn in rng.choice(len(phrases), size=count, replace=False)]
        return self._record(phrases)

    def whole_records(self, index: int) -> Iterator[Record]:
        """All phrases of the record at ``index``, as many in a record as a draw takes."""
        phrases, count = self._records[index], self.num_expressions or 1
        for start in range(0, len(phrases), count):
            yield self._record(phrases[start : start + count])

    def _record(self, phrases: Sequence[PhraseMask]) -> Record:
        first = phrases[0]
        return Record(
            source=self.source,
            record_id=first.record_id,
            image_path=first.image_path,
            conversation=Conversation(tuple(refer_turn(item.phrase, turn) for turn, item in enumerate(phrases))),
            regions=tuple(map(self._region, phrases)),
            size=first.size,
            exif=self.exif,
        )

    def _region(self, item: PhraseMask) -> Region:
        masks, ignored = [], {}
        for mask in item.masks:
            if isinstance(mask, MaskFile):
                try:
                    mask, unsure = mask.read()
                except ValueError as error:
                    raise ValueError(f"{self.source} record {item.record_id}: {error}") from error
                if unsure is not None:
                    ignored[unsure["counts"]] = unsure
            masks.append(mask)
        return Region(item.phrase, tuple(masks), ignored=tuple(ignored.values()))


def unite_phrases(phrases: Iterable[PhraseMask]) -> list[PhraseMask]:
    """One for each phrase of an image, with all of its masks, in the order in which they come first."""
    found: dict[tuple[str, str], PhraseMask] = {}
    for item in phrases:
        key = (item.image_path, item.phrase)
        found[key] = replace(found[key], masks=found[key].masks + item.masks) if key in found else item
    return list(found.values())


def plain_phrase(text: str) -> str:
    """A phrase as it is asked for: lower-case, as in REFER, without blanks around it."""
    return text.strip().lower()
