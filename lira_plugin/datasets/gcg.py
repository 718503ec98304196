"""Grounded conversation generation: captions whose phrases own regions, in the layouts of GLaMM's data."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from lira_plugin.datasets.annotation_files import load_coco, read_annotations
from lira_plugin.datasets.empty_masks import leave_out_empty_phrases
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline, log_skipped
from lira_plugin.registry import DATASETS
from lira_plugin.structures import GCG_QUESTIONS, Conversation, ExifRule, PhraseSpan, Record, Region, Turn

COVERED = "a phrase lies inside of another one (the phrase is left out, not the record)"
ABSENT = "a phrase is not in the caption (the phrase is left out, not the record)"
DEGENERATE = "the box or area of an annotation is degenerate (the annotation is left out, not the record)"
OTHER_WORDS = "the span of a phrase holds other words than its name"
IGNORED = "an annotation is marked 'ignore' (the annotation is left out, not the record)"


class BadRecord(ValueError):
    """A record that contradicts its layout; ``reason`` says in general how, ``detail`` what it is."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class FilteredRecord(Exception):
    """A sound record that the rules of its data set leave out; the argument says which rule."""


class GroundedPhrase(NamedTuple):
    """The characters ``[start, end)`` of a caption with the segmentations whose union is their mask."""

    start: int
    end: int
    segmentations: tuple[Any, ...]


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
    """How a file is read: ``entries(path)`` gives (record id, entry) pairs, ``parse(entry)`` makes a caption of one."""

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
        ValueError: an argument is unknown, the file is not of the layout, or, with ``on_bad_record='raise'``, no phrase
            is in its caption, one has no mask, spans cross or leave the caption, or a record has no region.
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
        if on_bad_record not in ("raise", "skip"):
            raise ValueError(f"on_bad_record must be 'raise' or 'skip', got {on_bad_record!r}")
        if question_index is not None and not 0 <= question_index < len(GCG_QUESTIONS):
            raise ValueError(f"question_index must be in 0..{len(GCG_QUESTIONS) - 1} or None, got {question_index}")
        super().__init__(source or f"gcg/{layout}", pipeline, seed, exif)
        self.question_index = question_index
        self._image_root = image_root
        self._records: list[tuple[str, GroundedCaption]] = []
        skipped: dict[str, list[str]] = {}
        doubtful: dict[str, list[str]] = {}
        for record_id, entry in GCG_LAYOUTS[layout].entries(ann_file):
            try:
                caption = _parse(GCG_LAYOUTS[layout].parse, entry)
            except FilteredRecord as rule:
                skipped.setdefault(str(rule), []).append(record_id)
            except BadRecord as error:
                if on_bad_record == "raise":
                    raise ValueError(
                        f"{ann_file}: record {record_id}: {error}. Repair the record, or leave such records out with "
                        "on_bad_record='skip'"
                    ) from error
                skipped.setdefault(error.reason, []).append(f"{record_id}: {error.detail}")
            else:
                self._records.append((record_id, caption))
                for found, notes in ((skipped, caption.left_out), (doubtful, caption.doubtful)):
                    for reason, what in notes:
                        found.setdefault(reason, []).append(f"{record_id}: {what}")
        log_skipped(self.source, ann_file, skipped)
        log_skipped(self.source, ann_file, doubtful, done="took as they are")
        if not self._records:
            counts = {reason: len(records) for reason, records in skipped.items()}
            raise ValueError(f"{ann_file} holds no record that can be used; left out: {counts}")

    def __len__(self) -> int:
        return len(self._records)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``; ``rng`` draws the question unless it is fixed."""
        record_id, caption = self._records[index]
        question_index = self.question_index
        if question_index is None:
            question_index = int(rng.integers(len(GCG_QUESTIONS)))
        phrases = sorted(caption.phrases)
        spans = tuple(PhraseSpan(phrase.start, phrase.end, region) for region, phrase in enumerate(phrases))
        return Record(
            source=self.source,
            record_id=record_id,
            image_path=os.path.join(self._image_root, caption.file_name),
            conversation=Conversation((Turn(GCG_QUESTIONS[question_index], caption.caption, spans),)),
            regions=tuple(Region(caption.caption[p.start : p.end], p.segmentations) for p in phrases),
            size=caption.size,
            exif=self.exif,
        )


def _parse(parse: Callable[[Any], GroundedCaption], entry: Any) -> GroundedCaption:
    """Parse one entry; a missing key or wrong type becomes a :class:`BadRecord`."""
    try:
        caption = parse(entry)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise BadRecord(
            "the record does not have the form of its layout", f"{type(error).__name__}: {error}"
        ) from error
    leave_out_empty_phrases(caption)
    if not caption.phrases:
        raise BadRecord("the record has no region", repr(caption.caption))
    for phrase in caption.phrases:
        if not any(phrase.segmentations):
            raise BadRecord("a phrase has no mask", repr(caption.caption[phrase.start : phrase.end]))
    return caption


def place_phrases(caption: str, phrases: Sequence[str]) -> list[tuple[int, int] | None]:
    """Find the characters ``[start, end)`` of each phrase so that no two overlap.

    Longer phrases choose first. A phrase takes its first occurrence that is free; occurrences inside words count only
    if there are no others. Where none is free, it takes what other phrases leave of one.

    Returns:
        The characters of each phrase; None where nothing is left, or where it is empty or does not occur.
    """
    placed: list[tuple[int, int] | None] = [None] * len(phrases)
    taken = np.zeros(len(caption), bool)
    for index in sorted(range(len(phrases)), key=lambda index: -len(phrases[index])):
        found = _occurrences(caption, phrases[index])
        free = [span for span in found if not taken[slice(*span)].any()]
        rests = free or [rest for span in found if (rest := _longest_rest(caption, taken, *span))]
        if rests:
            placed[index] = rests[0]
            taken[slice(*rests[0])] = True
    return placed


def _occurrences(caption: str, phrase: str) -> list[tuple[int, int]]:
    if not phrase:
        return []
    whole = re.finditer(rf"(?<!\w){re.escape(phrase)}(?!\w)", caption)
    spans = [match.span() for match in whole]
    return spans or [match.span(1) for match in re.finditer(f"(?=({re.escape(phrase)}))", caption)]


def _longest_rest(caption: str, taken: np.ndarray, start: int, end: int) -> tuple[int, int] | None:
    """The longest run of characters in ``[start, end)`` that is not taken, without blanks at its ends."""
    text = "".join("\0" if taken[index] else caption[index] for index in range(start, end))
    runs = [match.span() for match in re.finditer(r"[^\0\s](?:[^\0]*[^\0\s])?", text)]
    if not runs:
        return None
    low, high = max(runs, key=lambda run: run[1] - run[0])
    return start + low, start + high


def merge_spans(caption: str, phrases: Sequence[GroundedPhrase]) -> tuple[list[GroundedPhrase], list[tuple[str, str]]]:
    """Make spans that a file states free of overlap.

    The masks of equal spans are united; a span inside of another one is left out.

    Returns:
        The phrases that stay, and (reason, what) of those left out.

    Raises:
        BadRecord: a span is empty or leaves the caption, or two spans cross.
    """
    united: dict[tuple[int, int], tuple[Any, ...]] = {}
    for start, end, segmentations in phrases:
        if not 0 <= start < end <= len(caption):
            raise BadRecord("a span is empty or leaves the caption", f"[{start}, {end}) of {caption!r}")
        united[start, end] = united.get((start, end), ()) + segmentations
    kept: list[GroundedPhrase] = []
    left_out = []
    for (start, end), segmentations in sorted(united.items(), key=lambda item: item[0][0] - item[0][1]):
        rivals = [phrase for phrase in kept if start < phrase.end and phrase.start < end]
        if any(phrase.start <= start and end <= phrase.end for phrase in rivals):
            left_out.append((COVERED, repr(caption[start:end])))
        elif rivals:
            pair = f"[{start}, {end}) and [{rivals[0].start}, {rivals[0].end}) of {caption!r}"
            raise BadRecord("two spans cross", pair)
        else:
            kept.append(GroundedPhrase(start, end, segmentations))
    return kept, left_out


def _list_of(path: str) -> list[Any]:
    content = read_annotations(path)
    if not isinstance(content, list):
        raise ValueError(f"{path} is not of this layout: it must hold a list of records")
    return content


def _refcocog_entries(path: str) -> Iterable[tuple[str, Any]]:
    for position, entry in enumerate(_list_of(path)):
        if not isinstance(entry, dict) or len(entry) != 1:
            raise ValueError(f"{path}: the record at position {position} is not an object with one key, its id")
        yield from entry.items()


def _parse_refcocog(entry: dict[str, Any]) -> GroundedCaption:
    """Parse ``{"img_file_name", "caption", "refs": [{"sentence", "segmentation", ...}, ...]}``; text is lower-cased."""
    caption = _caption_text(entry["caption"]).lower()
    refs = entry["refs"]
    sentences = [ref["sentence"].strip().lower() for ref in refs]
    spans = place_phrases(caption, sentences)
    if sentences and not any(spans):
        raise BadRecord("its phrases are not in the caption", f"{sentences} in {caption!r}")
    return GroundedCaption(
        file_name=entry["img_file_name"],
        caption=caption,
        phrases=[GroundedPhrase(*span, (ref["segmentation"],)) for span, ref in zip(spans, refs) if span],
        left_out=[
            (COVERED, repr(sentence)) if sentence and sentence in caption else (ABSENT, f"{sentence!r} in {caption!r}")
            for span, sentence in zip(spans, sentences)
            if not span
        ],
    )


def _grandf_entries(path: str) -> Iterable[tuple[str, Any]]:
    for position, entry in enumerate(_list_of(path)):
        yield str(entry.get("image_id", position) if isinstance(entry, dict) else position), entry


def _parse_grandf(entry: dict[str, Any]) -> GroundedCaption:
    """Parse ``{"file_name", "height", "width", "caption", "groundings": {phrase: {"token_positives", "rle_masks"}}}``.

    ``token_positives`` is the span ``[start, end)`` of the caption; the union of ``rle_masks`` is the mask. The span
    counts, not the phrase.
    """
    caption = _caption_text(entry["caption"])
    phrases, doubtful = [], []
    for name, grounding in entry["groundings"].items():
        if grounding is None or not grounding["rle_masks"]:
            raise BadRecord("a phrase has no mask", repr(name))
        start, end = _as_span(grounding["token_positives"], name)
        phrases.append(GroundedPhrase(start, end, tuple(grounding["rle_masks"])))
        if name.strip().lower() != caption[start:end].strip().lower():
            doubtful.append((OTHER_WORDS, f"{name!r} at {caption[start:end]!r}"))
    kept, left_out = merge_spans(caption, phrases)
    return GroundedCaption(entry["file_name"], caption, kept, (entry["height"], entry["width"]), left_out, doubtful)


def _flickr_entries(path: str) -> Iterable[tuple[str, Any]]:
    coco = load_coco(path)
    for image_id, annotations in coco.annotations_by_image().items():
        yield str(image_id), (coco.images[image_id], annotations)


def _parse_flickr(entry: tuple[dict[str, Any], list[dict[str, Any]]]) -> GroundedCaption:
    """Parse a COCO image with ``caption`` and its annotations ``{"bbox", "area", "tokens_positive", "sam_mask", ...}``.

    ``bbox`` is x, y, width, height; of ``tokens_positive``, a list of spans, the first one counts.
    """
    image, annotations = entry
    caption, height, width = _caption_text(image["caption"]), image["height"], image["width"]
    if len(caption.split()) < 3:
        raise FilteredRecord("the caption has fewer than three words")
    if min(height, width) < 32:
        raise FilteredRecord("the image has a side below 32 pixels")
    phrases, left_out = [], []
    for annotation in annotations:
        x, y, box_width, box_height = annotation["bbox"]
        inside = min(x + box_width, width) > max(x, 0) and min(y + box_height, height) > max(y, 0)
        if annotation.get("ignore"):
            left_out.append((IGNORED, f"annotation {annotation['id']}"))
        elif not inside or min(box_width, box_height) < 1 or annotation.get("area", 1) <= 0:
            left_out.append((DEGENERATE, f"annotation {annotation['id']}"))
        else:
            start, end = _as_span(annotation["tokens_positive"][0], f"annotation {annotation['id']}")
            phrases.append(GroundedPhrase(start, end, (annotation["sam_mask"],)))
    if annotations and not phrases:
        raise FilteredRecord("all annotations of the image are degenerate or marked 'ignore'")
    kept, covered = merge_spans(caption, phrases)
    return GroundedCaption(image["file_name"], caption, kept, (height, width), left_out + covered)


def _caption_text(caption: str) -> str:
    """A caption as the published readers take it, before spans are counted: without quotes and blanks around it.

    So do LIRA's ``gcg_process.py`` and GLaMM's ``GranDf_gcg_ds.py``.
    """
    return caption.strip('"').strip()


def _as_span(value: Any, name: str) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(end, int) for end in value):
        raise BadRecord("a span is not a pair of character positions", f"{value!r} of {name}")
    return value[0], value[1]


GCG_LAYOUTS: dict[str, GCGLayout] = {
    "grandf": GCGLayout(_grandf_entries, _parse_grandf),
    "refcocog": GCGLayout(_refcocog_entries, _parse_refcocog),
    "flickr": GCGLayout(_flickr_entries, _parse_flickr),
}
"""Layouts by name; another source of captions is one more entry."""
