"""One's own questions and answers, with or without masks: a JSON Lines file."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lira_plugin.datasets.annotation_files import id_of
from lira_plugin.datasets.empty_masks import EMPTY_PHRASE
from lira_plugin.datasets.entries import to_entry
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline
from lira_plugin.datasets.json_records import parse_record
from lira_plugin.datasets.line_entries import GroundedLine, LineSpan
from lira_plugin.datasets.mask_file import mask_file_rle
from lira_plugin.datasets.phrase_spans import ABSENT, COVERED, GroundedPhrase, merge_spans, place_phrases
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.json_file import read_text
from lira_plugin.registry import DATASETS
from lira_plugin.structures import (
    Conversation,
    ExifRule,
    FaultKind,
    PhraseSpan,
    Record,
    Region,
    Turn,
    is_empty_annotation,
)

_KINDS = {ABSENT: FaultKind.PHRASE_NOT_IN_CAPTION, EMPTY_PHRASE: FaultKind.EMPTY_MASK}


@DATASETS.register_module()
class GroundedLinesDataset(GroundingDataset):
    """Questions and answers of any kind, one JSON object a line; phrases of an answer may own masks.

    A line is ``{"image": "a.jpg", "question": "What is here?", "answer": "A cup on a table.", "spans": [...]}``. A span names
    characters of the answer and has a mask::

        {"start": 0, "end": 5, "segmentation": ...}     # answer[0:5], COCO's polygons, RLE, or a list of those
        {"phrase": "a table", "mask": "masks/7.png"}    # where the phrase stands in the answer; a black and white image

    Without ``spans`` the answer is words alone; without ``image`` so is the question. ``id`` names the line in messages and
    results, by default its position. Blank lines are passed over.

    Args:
        ann_file: the JSON Lines file.
        image_root: folder that ``image`` is relative to; by default that of the file.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        source: name of the data set and split; metrics group by it.
        mask_root: folder that ``mask`` is relative to; by default that of the file.
        seed: seed of the random choices.
        on_bad_record: ``raise``, or ``skip`` to leave lines out that are not of this form, with a warning.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: nothing of the file can be used, or, with ``on_bad_record='raise'``, lines are not of this form, name a mask
            that is not there, or have spans that cross or leave the answer. All bad lines are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str | None = None,
        pipeline: Pipeline | None = None,
        source: str = "own",
        mask_root: str | None = None,
        seed: int = 0,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, pipeline, seed, exif)
        self.protocol["files"] = [ann_file]
        folder = os.path.dirname(ann_file)
        self._image_root = folder if image_root is None else image_root
        self._mask_root = folder if mask_root is None else mask_root
        self._records: list[Record] = []
        report = ReaderReport(source, on_bad_record)
        for index, text in enumerate(read_text(Path(ann_file)).split("\n"), 1):
            if not text.strip():
                continue
            value = parse_record(text)
            record_id = id_of(value, index, "id")
            try:
                record, left_out = self._parse(value, record_id)
            except BadRecord as error:
                report.bad(ann_file, record_id, f"line {index}", error)
                continue
            self._records.append(record)
            for reason, what in left_out:
                report.left_out(ann_file, record_id, reason, what, _KINDS.get(reason, FaultKind.BY_RULE))
        self.findings = report.finish()
        if not self._records:
            raise report.nothing_left(ann_file, "line")

    def __len__(self) -> int:
        return len(self._records)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``; nothing is random.

        Raises:
            ValueError: the file of a mask cannot be read.
        """
        record = self._records[index]
        try:
            regions = tuple(
                replace(region, segmentations=tuple(map(_loaded, region.segmentations))) for region in record.regions
            )
        except (OSError, ValueError) as error:
            raise ValueError(f"{record.source} record {record.record_id}: {error}") from error
        return replace(record, regions=regions)

    def _parse(self, value: Any, record_id: str) -> tuple[Record, list[tuple[str, str]]]:
        """A record whose masks in files are still paths, and (reason, what) of the phrases left out."""
        line = to_entry(value, GroundedLine)
        if line.spans and line.image is None:
            raise BadRecord("it has masks, but no image", f"{len(line.spans)} spans", FaultKind.SEG_MASK_MISMATCH)
        spans = [to_entry(span, LineSpan, f"spans[{position}]") for position, span in enumerate(line.spans)]
        found = place_phrases(line.answer, [span.phrase for span in spans if span.phrase is not None])
        placed = iter(found)
        phrases, left_out = [], []
        for span in spans:
            bounds = (span.start, span.end) if span.phrase is None else next(placed)
            mask = self._mask_of(span)
            if bounds is None:
                inside = span.phrase in line.answer
                left_out.append(
                    (COVERED, repr(span.phrase)) if inside else (ABSENT, f"{span.phrase!r} in {line.answer!r}")
                )
            elif not isinstance(mask, os.PathLike) and is_empty_annotation(mask):
                left_out.append((EMPTY_PHRASE, repr(line.answer[slice(*bounds)])))
            else:
                phrases.append(GroundedPhrase(*bounds, (mask,)))
        kept, covered = merge_spans(line.answer, phrases)
        return self._record(line, record_id, sorted(kept)), left_out + covered

    def _mask_of(self, span: LineSpan) -> Any:
        if span.mask is None:
            return span.segmentation
        path = Path(self._mask_root, span.mask)
        if not path.is_file():
            raise BadRecord(
                "there is no such mask",
                f"{path}; 'mask' is relative to {self._mask_root or '.'!r} (mask_root)",
                FaultKind.MISSING_IMAGE,
            )
        return path

    def _record(self, line: GroundedLine, record_id: str, phrases: Sequence[GroundedPhrase]) -> Record:
        spans = tuple(PhraseSpan(phrase.start, phrase.end, region) for region, phrase in enumerate(phrases))
        return Record(
            source=self.source,
            record_id=record_id,
            image_path=None if line.image is None else os.path.join(self._image_root, line.image),
            conversation=Conversation((Turn(line.question, line.answer, spans),)),
            regions=tuple(Region(line.answer[p.start : p.end], p.segmentations) for p in phrases),
            exif=self.exif,
        )


def _loaded(mask: Any) -> Any:
    return mask_file_rle(mask) if isinstance(mask, os.PathLike) else mask
