"""Grounded conversation generation: captions whose phrases own regions, in the layouts of GLaMM's data."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from lira_plugin.datasets.annotation_files import id_of, load_coco, read_list
from lira_plugin.datasets.empty_masks import EMPTY_PHRASE, leave_out_empty_phrases
from lira_plugin.datasets.entries import (
    FlickrAnnotation,
    FlickrImage,
    GrandfEntry,
    Grounding,
    RefcocogEntry,
    to_entry,
)
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline
from lira_plugin.datasets.json_records import RepeatedKey, UnreadableRecord
from lira_plugin.datasets.phrase_spans import ABSENT, COVERED, GroundedPhrase, caption_text, merge_spans, place_phrases
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.datasets.stored_reading import Reading, read_once
from lira_plugin.registry import DATASETS
from lira_plugin.structures import (
    GCG_QUESTIONS,
    Conversation,
    ExifRule,
    FaultKind,
    PhraseSpan,
    Record,
    Region,
    Turn,
    shown,
)

DEGENERATE = "the box or area of an annotation is degenerate (the annotation is left out, not the record)"
OTHER_WORDS = "the span of a phrase holds other words than its name"
IGNORED = "an annotation is marked 'ignore' (the annotation is left out, not the record)"

KIND_OF_REASON = {
    ABSENT: FaultKind.PHRASE_NOT_IN_CAPTION,
    DEGENERATE: FaultKind.ZERO_AREA_MASK,
    OTHER_WORDS: FaultKind.SPAN_WORDS,
    EMPTY_PHRASE: FaultKind.EMPTY_MASK,
}
"""Kinds of what is left out or doubted; other reasons are rules of the data set."""


class FilteredRecord(Exception):
    """A sound record that the rules of its data set leave out; the argument says which rule."""


@dataclass
class GroundedCaption:
    """What a layout reads from one record.

    Args:
        file_name: the image, relative to the image root.
        caption: the text as it is to be answered.
        phrases: without overlap, in any order.
        size: (height, width) if the record states it.
        left_out: (reason, what) of phrases and annotations that were left out.
        doubtful: (reason, what) of those that were taken as they are, though the record contradicts itself.
    """

    file_name: str
    caption: str
    phrases: list[GroundedPhrase]
    size: tuple[int, int] | None = None
    left_out: list[tuple[str, str]] = field(default_factory=list)
    doubtful: list[tuple[str, str]] = field(default_factory=list)


class GCGLayout(NamedTuple):
    """How a file is read: ``entries(path)`` gives (record id, entry) pairs, ``parse(entry)`` makes a caption of one.

    Both raise :class:`~lira_plugin.datasets.findings.BadRecord` for what is not of the layout; an entry may be such an error.
    """

    entries: Callable[[str], Iterable[tuple[str, Any]]]
    parse: Callable[[Any], GroundedCaption]


@DATASETS.register_module()
class GCGDataset(GroundingDataset):
    """Captions with grounded phrases: one question, and the caption with its phrases as the answer.

    All records are parsed when the data set is built; masks stay encoded. What is left out is counted and logged.

    Args:
        ann_file: the annotations.
        image_root: folder that the file names of images are relative to.
        layout: key of :data:`GCG_LAYOUTS`: ``grandf`` (GranDf-HA and OpenPSG), ``refcocog`` or ``flickr``.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        source: name for metrics; by default ``gcg/<layout>``.
        seed: seed of the random choices.
        on_bad_record: ``raise``, or ``skip`` to leave records out that contradict the layout.
        question_index: always ask this one of :data:`GCG_QUESTIONS`; None draws one each time.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        ValueError: an argument is unknown, the file is not of the layout, or, with ``on_bad_record='raise'``, a record is not
            of it, no phrase is in its caption, one has no mask, spans cross or leave the caption, or there is no region. All bad
            records of the file are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        layout: str,
        pipeline: Pipeline | None = None,
        source: str | None = None,
        seed: int = 0,
        on_bad_record: str = "raise",
        question_index: int | None = None,
        exif: ExifRule = "apply",
    ) -> None:
        if layout not in GCG_LAYOUTS:
            raise ValueError(f"unknown layout {layout!r}; known are {sorted(GCG_LAYOUTS)}")
        if question_index is not None and not 0 <= question_index < len(GCG_QUESTIONS):
            raise ValueError(f"question_index must be in 0..{len(GCG_QUESTIONS) - 1} or None, got {question_index}")
        super().__init__(source or f"gcg/{layout}", pipeline, seed, exif)
        self.protocol["files"] = [ann_file]
        self.question_index = question_index
        report = ReaderReport(self.source, on_bad_record)
        settings = {"image_root": os.fspath(image_root), "layout": layout, "question_index": question_index}
        self._records = read_once(
            self, [ann_file], settings, report, lambda: self._parse(ann_file, image_root, layout, report)
        ).records
        self.findings = report.finish()
        if not self._records:
            raise report.nothing_left(ann_file)

    def _parse(self, ann_file: str, image_root: str, layout: str, report: ReaderReport) -> Reading:
        """The captions as answers to no question yet."""
        records = []
        for position, (record_id, entry) in enumerate(GCG_LAYOUTS[layout].entries(ann_file)):
            try:
                caption = _parse(GCG_LAYOUTS[layout].parse, entry)
            except FilteredRecord as rule:
                report.left_out(ann_file, record_id, str(rule))
            except BadRecord as error:
                report.bad(ann_file, record_id, f"record {record_id} (position {position})", error)
            else:
                records.append(self._answer(record_id, caption, image_root))
                for reason, what in caption.left_out:
                    report.left_out(ann_file, record_id, reason, what, KIND_OF_REASON.get(reason, FaultKind.BY_RULE))
                for reason, what in caption.doubtful:
                    report.taken(ann_file, record_id, reason, what, kind=KIND_OF_REASON[reason])
        return Reading(records)

    def _answer(self, record_id: str, caption: GroundedCaption, image_root: str) -> Record:
        phrases = sorted(caption.phrases)
        spans = tuple(PhraseSpan(phrase.start, phrase.end, region) for region, phrase in enumerate(phrases))
        return Record(
            source=self.source,
            record_id=record_id,
            image_path=os.path.join(image_root, caption.file_name),
            conversation=Conversation((Turn("", caption.caption, spans),)),
            regions=tuple(Region(caption.caption[p.start : p.end], p.segmentations) for p in phrases),
            size=caption.size,
            exif=self.exif,
        )

    def __len__(self) -> int:
        return len(self._records)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``; ``rng`` draws the question unless it is fixed."""
        fixed = self.question_index
        return self._record(index, int(rng.integers(len(GCG_QUESTIONS))) if fixed is None else fixed)

    def whole_records(self, index: int) -> Iterator[Record]:
        """The record at ``index`` with its longest question, which leaves the least room for the caption."""
        longest = max(range(len(GCG_QUESTIONS)), key=lambda question: len(GCG_QUESTIONS[question]))
        yield self._record(index, longest if self.question_index is None else self.question_index)

    def _record(self, index: int, question_index: int) -> Record:
        record = self._records[index]
        turn = replace(record.conversation.turns[0], question=GCG_QUESTIONS[question_index])
        return replace(record, conversation=Conversation((turn,)))


def _parse(parse: Callable[[Any], GroundedCaption], entry: Any) -> GroundedCaption:
    """Parse one entry; a missing key or wrong type, which a layout may leave to Python, becomes a :class:`BadRecord`."""
    if isinstance(entry, BadRecord):
        raise entry
    try:
        caption = parse(entry)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise BadRecord(
            "the record does not have the form of its layout", f"{type(error).__name__}: {error}"
        ) from error
    leave_out_empty_phrases(caption)
    if not caption.phrases:
        raise BadRecord("the record has no region", repr(caption.caption), FaultKind.SEG_MASK_MISMATCH)
    for phrase in caption.phrases:
        if not any(phrase.segmentations):
            words = caption.caption[phrase.start : phrase.end]
            raise BadRecord("a phrase has no mask", repr(words), FaultKind.SEG_MASK_MISMATCH)
    return caption


def _refcocog_entries(path: str) -> Iterable[tuple[str, Any]]:
    for position, entry in enumerate(read_list(path, "a file of the RefCOCOg layout")):
        if isinstance(entry, dict) and len(entry) == 1:
            (record_id,) = entry
            yield record_id, entry[record_id]
        elif isinstance(entry, UnreadableRecord):
            yield str(position), entry
        else:
            yield str(position), BadRecord("the record is not an object with one key, its id", f"got {shown(entry)}")


def _parse_refcocog(value: Any) -> GroundedCaption:
    """Parse ``{"img_file_name", "caption", "refs": [{"sentence", "segmentation", ...}, ...]}``; text is lower-cased."""
    entry = to_entry(value, RefcocogEntry)
    caption = caption_text(entry.caption).lower()
    sentences = [ref.sentence.strip().lower() for ref in entry.refs]
    spans = place_phrases(caption, sentences)
    if sentences and not any(spans):
        absent = "its phrases are not in the caption"
        raise BadRecord(absent, f"{sentences} in {caption!r}", FaultKind.PHRASE_NOT_IN_CAPTION)
    return GroundedCaption(
        file_name=entry.img_file_name,
        caption=caption,
        phrases=[GroundedPhrase(*span, (ref.segmentation,)) for span, ref in zip(spans, entry.refs) if span],
        left_out=[
            (COVERED, repr(sentence)) if sentence and sentence in caption else (ABSENT, f"{sentence!r} in {caption!r}")
            for span, sentence in zip(spans, sentences)
            if not span
        ],
    )


def _grandf_entries(path: str) -> Iterable[tuple[str, Any]]:
    for position, entry in enumerate(read_list(path, "a file of the GranDf layout")):
        yield id_of(entry, position, "image_id"), entry


def _parse_grandf(value: Any) -> GroundedCaption:
    """Parse ``{"file_name", "height", "width", "caption", "groundings": {phrase: {"token_positives", "rle_masks"}}}``.

    ``token_positives`` is the span ``[start, end)`` of the caption; the union of ``rle_masks`` is the mask. The span
    counts, not the phrase.
    """
    entry = to_entry(value, GrandfEntry)
    caption = caption_text(entry.caption)
    phrases, doubtful = [], []
    for name, found in entry.groundings.items():
        if isinstance(found, RepeatedKey):
            repeated = "a phrase occurs several times as a key, of which JSON keeps one"
            raise BadRecord(repeated, f"{name!r}, {found!r}", FaultKind.DUPLICATE_KEY)
        grounding = None if found is None else to_entry(found, Grounding, f"groundings[{shown(name)}]")
        if grounding is None or not grounding.rle_masks:
            raise BadRecord("a phrase has no mask", repr(name), FaultKind.SEG_MASK_MISMATCH)
        start, end = _as_span(grounding.token_positives, f"{name} in 'token_positives'")
        phrases.append(GroundedPhrase(start, end, tuple(grounding.rle_masks)))
        if name.strip().lower() != caption[start:end].strip().lower():
            doubtful.append((OTHER_WORDS, f"{name!r} at {caption[start:end]!r}"))
    kept, left_out = merge_spans(caption, phrases)
    return GroundedCaption(entry.file_name, caption, kept, (entry.height, entry.width), left_out, doubtful)


def _flickr_entries(path: str) -> Iterable[tuple[str, Any]]:
    coco = load_coco(path, FlickrImage, FlickrAnnotation)
    for image_id, annotations in coco.annotations_by_image().items():
        yield str(image_id), (coco.images[image_id], annotations)
    for fault in coco.faults:
        record_id = fault.where if fault.image_id is None else str(fault.image_id)
        yield record_id, BadRecord(fault.error.reason, f"{fault.where}: {fault.error.detail}", fault.error.kind)


def _parse_flickr(entry: tuple[FlickrImage, list[FlickrAnnotation]]) -> GroundedCaption:
    """Parse a COCO image with ``caption`` and its annotations ``{"bbox", "area", "tokens_positive", "sam_mask", ...}``.

    ``bbox`` is x, y, width, height; of ``tokens_positive``, a list of spans, the first one counts.
    """
    image, annotations = entry
    caption, height, width = caption_text(image.caption), image.height, image.width
    if len(caption.split()) < 3:
        raise FilteredRecord("the caption has fewer than three words")
    if min(height, width) < 32:
        raise FilteredRecord("the image has a side below 32 pixels")
    phrases, left_out = [], []
    for annotation in annotations:
        name = f"annotation {annotation.id}"
        x, y, box_width, box_height = annotation.bbox
        inside = min(x + box_width, width) > max(x, 0) and min(y + box_height, height) > max(y, 0)
        if annotation.ignore:
            left_out.append((IGNORED, name))
        elif not inside or min(box_width, box_height) < 1 or annotation.area <= 0:
            left_out.append((DEGENERATE, name))
        elif not annotation.tokens_positive:
            lacking = "an annotation has no span of the caption in 'tokens_positive'"
            raise BadRecord(lacking, name, FaultKind.SEG_MASK_MISMATCH)
        else:
            start, end = _as_span(annotation.tokens_positive[0], f"{name} in 'tokens_positive'")
            phrases.append(GroundedPhrase(start, end, (annotation.sam_mask,)))
    if annotations and not phrases:
        raise FilteredRecord("all annotations of the image are degenerate or marked 'ignore'")
    kept, covered = merge_spans(caption, phrases)
    return GroundedCaption(image.file_name, caption, kept, (height, width), left_out + covered)


def _as_span(value: list[int], name: str) -> tuple[int, int]:
    if len(value) != 2:
        pair = "a span is not a pair of character positions"
        raise BadRecord(pair, f"{shown(value)} of {name}", FaultKind.SPAN_OUTSIDE)
    return value[0], value[1]


GCG_LAYOUTS: dict[str, GCGLayout] = {
    "grandf": GCGLayout(_grandf_entries, _parse_grandf),
    "refcocog": GCGLayout(_refcocog_entries, _parse_refcocog),
    "flickr": GCGLayout(_flickr_entries, _parse_flickr),
}
"""Layouts by name; another source of captions is one more entry."""
