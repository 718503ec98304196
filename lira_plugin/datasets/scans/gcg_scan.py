"""Scans of grounded captions: GranDf's and OpenPSG's layout, RefCOCOg's and Flickr's."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lira_plugin.datasets.annotation_files import id_of, read_list
from lira_plugin.datasets.entries import (
    FlickrAnnotation,
    FlickrImage,
    GrandfEntry,
    Grounding,
    RefcocogEntry,
    RefcocogPhrase,
    RefSentence,
    to_entry,
)
from lira_plugin.datasets.findings import LEFT_OUT, TAKEN, BadRecord
from lira_plugin.datasets.json_records import RepeatedKey
from lira_plugin.datasets.phrase_spans import caption_text
from lira_plugin.datasets.scans.coco_scan import claim_image, scan_coco
from lira_plugin.datasets.scans.scan import ImageClaim, MaskClaim, Scan, Unit
from lira_plugin.datasets.scans.unread import check_unread
from lira_plugin.structures import FaultKind, shown


class _Span(NamedTuple):
    """Where a phrase stands in its caption, and what is wrong with its words, if anything."""

    start: int
    end: int
    record: str
    unit: Unit
    wrong: str = ""


def scan_gcg(scan: Scan, settings: Any) -> None:
    """Scan the file of a :class:`~lira_plugin.datasets.GCGDataset`."""
    {"grandf": _scan_grandf, "refcocog": _scan_refcocog, "flickr": _scan_flickr}[settings.layout](scan, settings)


class _Captions:
    """What was met before in the file."""

    def __init__(self, scan: Scan, path: str) -> None:
        self.scan, self.path = scan, path
        self.ids: set[Any] = set()
        self.texts: dict[tuple[str, str], str] = {}

    def check(self, record: str, unit: Unit, file_name: str, caption: str, record_id: Any = None) -> bool:
        """Note a caption that is blank, spells a token, or was met before; False for one whose id was."""
        if record_id is not None and not self.scan.check_id(self.ids, record_id, record, self.path, unit):
            return False
        self.scan.check_words(caption, record, self.path, unit)
        first = self.texts.setdefault((file_name, caption.strip().lower()), record)
        if caption.strip() and first != record:
            what = f"its caption of {file_name} is that of {first}: {shown(caption)}"
            self.scan.add(FaultKind.DUPLICATE_SENTENCE, record, self.path, unit, what, TAKEN)
        return True


def _scan_grandf(scan: Scan, settings: Any) -> None:
    path = settings.ann_file
    content = read_list(path, "a file of the GranDf layout")
    scan.files.append(path)
    captions = _Captions(scan, path)
    for position, value in enumerate(content):
        record, unit = id_of(value, position, "image_id"), (position,)
        groundings = value.get("groundings") if isinstance(value, dict) else None
        try:  # phrases are looked at one by one
            entry = to_entry(value | {"groundings": {}} if isinstance(groundings, dict) else value, GrandfEntry)
        except BadRecord as error:
            scan.bad(record, path, unit, error)
            continue
        scan.units.setdefault((record, ""), (record, path, unit))
        if not captions.check(record, unit, entry.file_name, entry.caption, entry.image_id):
            continue
        claim = ImageClaim(
            record,
            path,
            unit,
            os.path.join(settings.image_root, entry.file_name),
            (entry.height, entry.width),
            settings.exif,
        )
        scan.images.append(claim)
        if not groundings:
            scan.add(FaultKind.SEG_MASK_MISMATCH, record, path, unit, "the record has no region")
        elif entry.caption.strip():
            _scan_groundings(scan, caption_text(entry.caption), groundings, claim)
    named = ((id_of(value, index, "image_id"), (index,), value) for index, value in enumerate(content))
    check_unread(scan, path, named)


def _scan_groundings(scan: Scan, caption: str, groundings: dict[Any, Any], claim: ImageClaim) -> None:
    spans = []
    for name, value in groundings.items():
        unit = (*claim.unit, "groundings", name)
        try:
            if isinstance(value, RepeatedKey):
                what = "a phrase occurs several times as a key, of which JSON keeps one"
                raise BadRecord(what, f"{name!r}, {value!r}", FaultKind.DUPLICATE_KEY)
            grounding = None if value is None else to_entry(value, Grounding, f"groundings[{shown(name)}]")
            if grounding is None or not any(grounding.rle_masks or ()):
                raise BadRecord("a phrase has no mask", repr(name), FaultKind.SEG_MASK_MISMATCH)
            if not isinstance(name, str):
                raise BadRecord("a phrase must be a text", repr(name))
            if not name.isascii():
                to_entry({"sent": name}, RefSentence)
            start, end = _checked_span(grounding.token_positives, caption, name)
        except BadRecord as error:
            scan.bad(claim.record, claim.file, unit, error)
            continue
        words, asked = caption[start:end].strip().lower(), name.strip().lower()
        wrong = "" if words == asked else f"the phrase {name!r} stands at {caption[start:end]!r} of {shown(caption)}"
        spans.append(_Span(start, end, claim.record, unit, wrong))
        claim.masks.append(MaskClaim(claim.record, claim.file, unit, tuple(grounding.rle_masks)))
    crossing = _note_crossing(scan, claim.file, spans, caption)
    kinds = {span: _kind_of_words(span, caption) for span in spans if span.wrong and span not in crossing}
    absent = FaultKind.PHRASE_NOT_IN_CAPTION in kinds.values()
    for span, kind in kinds.items():  # a caption that was changed moves all phrases behind: that is one fault
        if kind is FaultKind.PHRASE_NOT_IN_CAPTION or not absent:
            scan.add(kind, span.record, claim.file, span.unit, span.wrong, TAKEN)


def _kind_of_words(span: _Span, caption: str) -> FaultKind:
    is_there = str(span.unit[-1]).strip().lower() in caption.lower()
    return FaultKind.SPAN_WORDS if is_there else FaultKind.PHRASE_NOT_IN_CAPTION


def _checked_span(value: list[int], caption: str, name: str) -> tuple[int, int]:
    if len(value) != 2 or not 0 <= value[0] < value[1] <= len(caption):
        what = "a span is no pair of positions, is empty or leaves the caption"
        raise BadRecord(what, f"{shown(value)} of {name!r} in {shown(caption)}", FaultKind.SPAN_OUTSIDE)
    return value[0], value[1]


def _note_crossing(scan: Scan, file: str, spans: Sequence[_Span], caption: str) -> set[_Span]:
    """Note spans that cross, of two the one whose words are wrong, or the shorter one; returns those that were noted."""
    noted: set[_Span] = set()
    for span in sorted(spans, key=lambda span: (bool(span.wrong), span.start - span.end)):
        for other in spans:
            apart = span.end <= other.start or other.end <= span.start
            inside = (span.start <= other.start and other.end <= span.end) or (
                other.start <= span.start and span.end <= other.end
            )
            if apart or inside or other is span or other in noted or span in noted:
                continue
            worse = max(span, other, key=lambda one: (bool(one.wrong), one.start - one.end))
            rest = other if worse is span else span
            what = f"the spans [{worse.start}, {worse.end}) and [{rest.start}, {rest.end}) of {shown(caption)} cross"
            scan.add(FaultKind.SPANS_CROSS, worse.record, file, worse.unit, what)
            noted.add(worse)
    return noted


def _scan_refcocog(scan: Scan, settings: Any) -> None:
    path = settings.ann_file
    content = read_list(path, "a file of the RefCOCOg layout")
    scan.files.append(path)
    captions = _Captions(scan, path)
    for position, value in enumerate(content):
        unit: Unit = (position,)
        if not isinstance(value, dict) or len(value) != 1:
            try:
                to_entry(value, RefcocogEntry)  # says what is no object, or cannot be read
                raise BadRecord("the record is not an object with one key, its id", f"got {shown(value)}")
            except BadRecord as error:
                keyed = isinstance(value, dict) and "lacks" in error.reason
                what = BadRecord("the record is not an object with one key, its id", f"got {shown(value)}")
                scan.bad(str(position), path, unit, what if keyed else error)
            continue
        ((record, inner),) = value.items()
        record = str(record)
        refs = inner.get("refs") if isinstance(inner, dict) else None
        sound, faulty = _sound_refs(refs)
        try:
            entry = to_entry(inner | {"refs": sound} if isinstance(refs, list) else inner, RefcocogEntry)
        except BadRecord as error:
            scan.bad(record, path, unit, error)
            continue
        for index, error in faulty.items():
            scan.bad(record, path, (*unit, record, "refs", index), error)
        scan.units.setdefault((record, ""), (record, path, unit))
        if not captions.check(record, unit, entry.img_file_name, entry.caption, record):
            continue
        claim = ImageClaim(
            record, path, unit, os.path.join(settings.image_root, entry.img_file_name), None, settings.exif
        )
        scan.images.append(claim)
        if not refs:
            scan.add(FaultKind.SEG_MASK_MISMATCH, record, path, unit, "the record has no region")
        elif entry.caption.strip():
            units = [(*unit, record, "refs", index) for index in range(len(refs)) if index not in faulty]
            _scan_refcocog_phrases(scan, entry, units, claim)
    numbered = ((str(next(iter(value), index)) if isinstance(value, dict) else str(index), (index,), value)
                for index, value in enumerate(content))  # fmt: skip
    check_unread(scan, path, numbered)


def _sound_refs(refs: Any) -> tuple[list[Any], dict[int, BadRecord]]:
    """The phrases that are of their layout, and the errors of the others by index."""
    sound, faulty = [], {}
    for index, ref in enumerate(refs if isinstance(refs, list) else ()):
        try:
            to_entry(ref, RefcocogPhrase)
            sound.append(ref)
        except BadRecord as error:
            faulty[index] = error
    return sound, faulty


def _scan_refcocog_phrases(scan: Scan, entry: RefcocogEntry, units: Sequence[Unit], claim: ImageClaim) -> None:
    caption = caption_text(entry.caption).lower()
    sentences = [ref.sentence.strip().lower() for ref in entry.refs]
    for ref, sentence, unit in zip(entry.refs, sentences, units, strict=True):
        if not sentence:
            scan.add(FaultKind.EMPTY_TEXT, claim.record, claim.file, unit, "a phrase is blank", LEFT_OUT)
        elif sentence not in caption:
            what = f"the phrase {sentence!r} is not in {shown(caption)}"
            scan.add(FaultKind.PHRASE_NOT_IN_CAPTION, claim.record, claim.file, unit, what, LEFT_OUT)
        else:  # also where no reader can place the phrase, as others cover it
            claim.masks.append(MaskClaim(claim.record, claim.file, unit, (ref.segmentation,)))


def _scan_flickr(scan: Scan, settings: Any) -> None:
    found = scan_coco(scan, settings.ann_file, FlickrImage, FlickrAnnotation)
    coco, path = found.coco, found.coco.path
    captions = _Captions(scan, path)
    by_image: dict[Any, list[FlickrAnnotation]] = {image_id: [] for image_id in coco.images}
    for annotation in coco.annotations.values():
        if annotation.image_id in by_image:
            by_image[annotation.image_id].append(annotation)
    spoilt = scan.touched
    for image_id, annotations in by_image.items():
        image, name, unit = coco.images[image_id], f"image {image_id}", found.unit("images", image_id)
        scan.units[str(image_id), ""] = (name, path, unit)
        scan.owners[name].add(str(image_id))
        for annotation in annotations:
            scan.owners[f"annotation {annotation.id}"].add(str(image_id))
        captions.check(name, unit, image.file_name, image.caption)
        if not image.caption.strip() or len(image.caption.split()) < 3 or min(image.height, image.width) < 32:
            continue  # blank ones are noted, the others left out by a rule
        claim = claim_image(scan, found, image_id, settings.image_root, settings.exif, {str(image_id)})
        if not annotations and str(image_id) not in spoilt and not found.is_faulty("annotations", ("of", image_id)):
            scan.add(FaultKind.SEG_MASK_MISMATCH, name, path, unit, "the record has no region")
        spans = list(_flickr_spans(scan, caption_text(image.caption), annotations, claim, found))
        _note_crossing(scan, path, spans, image.caption)


def _flickr_spans(
    scan: Scan, caption: str, annotations: Sequence[FlickrAnnotation], claim: ImageClaim, found: Any
) -> Iterator[_Span]:
    height, width = claim.size or (0, 0)
    with_mask = {_first_span(annotation) for annotation in annotations if annotation.sam_mask}
    for annotation in annotations:
        name, unit = f"annotation {annotation.id}", found.unit("annotations", annotation.id)
        x, y, box_width, box_height = annotation.bbox
        if annotation.ignore:
            continue
        if min(box_width, box_height) < 1 or annotation.area <= 0:
            what = f"its box {annotation.bbox} or area {annotation.area} is degenerate"
            scan.add(FaultKind.ZERO_AREA_MASK, name, claim.file, unit, what, LEFT_OUT)
            continue
        if min(x + box_width, width) <= max(x, 0) or min(y + box_height, height) <= max(y, 0):
            what = f"its box {annotation.bbox} lies outside of the image, which is {width} wide and {height} high"
            scan.add(FaultKind.MASK_OUTSIDE, name, claim.file, unit, what, LEFT_OUT)
            continue
        try:
            if not annotation.tokens_positive:
                lacking = "it has no span of the caption in 'tokens_positive'"
                raise BadRecord(lacking, kind=FaultKind.SEG_MASK_MISMATCH)
            start, end = _checked_span(annotation.tokens_positive[0], caption, name)
            if not annotation.sam_mask and (start, end) not in with_mask:
                raise BadRecord("its phrase has no mask", repr(caption[start:end]), FaultKind.SEG_MASK_MISMATCH)
        except BadRecord as error:
            scan.bad(name, claim.file, unit, error)
            continue
        if annotation.sam_mask:
            claim.masks.append(MaskClaim(name, claim.file, unit, (annotation.sam_mask,)))
        yield _Span(start, end, name, unit)


def _first_span(annotation: FlickrAnnotation) -> tuple[int, ...]:
    return tuple(annotation.tokens_positive[0]) if annotation.tokens_positive else ()
