"""Scans of ReasonSeg's folders."""

from pathlib import Path
from typing import Any

import numpy as np

from lira_plugin.datasets.findings import LEFT_OUT, TAKEN, BadRecord
from lira_plugin.datasets.reason_seg import ReasonAnnotation, paint_reason, parse_reason, read_reason_json
from lira_plugin.datasets.scans.scan import ImageClaim, Scan
from lira_plugin.datasets.scans.unread import faults_in
from lira_plugin.datasets.transforms.image_faults import image_fault
from lira_plugin.structures import FaultKind

_MARGIN = 2
"""Pixels that annotators' polygons may reach beyond the image."""


def scan_reason(scan: Scan, settings: Any) -> None:
    """Scan the folder of a :class:`~lira_plugin.datasets.ReasonSegDataset`; the unit of a whole JSON file is empty.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    folder = Path(settings.data_root) / settings.split
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; check data_root and split ({settings.split!r})")
    scan.files.append(str(folder))
    pictures = sorted(folder.glob("*.jpg"))
    for path in sorted({*folder.glob("*.json")} - {picture.with_suffix(".json") for picture in pictures}):
        what = f"there is no picture {path.stem}.jpg beside the JSON file"
        scan.add(FaultKind.MISSING_IMAGE, path.stem, str(path), (), what, LEFT_OUT)
    for picture in pictures:
        path = str(picture.with_suffix(".json"))
        scan.units[picture.stem, ""] = (picture.stem, path, ())
        try:
            content = read_reason_json(path)
            annotation = parse_reason(_without_blank_texts(scan, picture.stem, path, content))
        except BadRecord as error:
            missing = not Path(path).exists()
            scan.add(FaultKind.UNREADABLE_FILE if missing else error.kind, picture.stem, path, (), str(error))
            continue
        if settings.query not in ("all", annotation.query):
            continue
        seen: dict[str, int] = {}
        for index, text in enumerate(content["text"]):
            if not text.strip():
                continue
            scan.check_words(text, picture.stem, path, ("text", index), is_learnt=False)
            if seen.setdefault(text.strip().lower(), index) != index:
                what = f"the question {text!r} is there twice"
                scan.add(FaultKind.DUPLICATE_SENTENCE, picture.stem, path, ("text", index), what, TAKEN)
        for _, kind, what in faults_in(content):
            scan.add(kind, picture.stem, path, (), what, TAKEN)
        claim = ImageClaim(picture.stem, path, (), str(picture), None, settings.exif)
        scan.images.append(claim)
        _check_polygons(scan, claim, annotation)


def _without_blank_texts(scan: Scan, record: str, path: str, content: Any) -> Any:
    """The content without questions that are no text or blank, which are noted; all are left where none is sound."""
    texts = content.get("text") if isinstance(content, dict) else None
    sound = [text for text in texts if not isinstance(text, str) or text.strip()] if isinstance(texts, list) else []
    if not sound:
        return content
    for index, text in enumerate(texts):
        if isinstance(text, str) and not text.strip():
            scan.add(FaultKind.EMPTY_TEXT, record, path, ("text", index), f"a question is blank: {text!r}")
    return content | {"text": sound}


def _check_polygons(scan: Scan, claim: ImageClaim, annotation: ReasonAnnotation) -> None:
    """Note polygons that are none or leave the picture, and targets without a pixel. Their outline is painted as well."""
    size, fault = image_fault(claim.path, claim.exif, decode=False)
    if fault is not None or size is None:
        return
    height, width = size
    kinds = set()
    for index, (points, _) in enumerate(annotation.polygons):
        what = f"shape {index} reaches from {points.min(0).tolist()} to {points.max(0).tolist()}"
        if points.min() < -_MARGIN or (points.max(0) > np.array([width, height]) + _MARGIN).any():
            kinds.add(FaultKind.MASK_OUTSIDE)
            what += f", but the image is {width} wide and {height} high"
            scan.add(FaultKind.MASK_OUTSIDE, claim.record, claim.file, claim.unit, what, TAKEN)
        elif len(points) < 3:
            kinds.add(FaultKind.BAD_POLYGON)
            what = f"shape {index} has {len(points)} points, and no area"
            scan.add(FaultKind.BAD_POLYGON, claim.record, claim.file, claim.unit, what, TAKEN)
        elif _area(points) == 0:
            kinds.add(FaultKind.ZERO_AREA_MASK)
            scan.add(FaultKind.ZERO_AREA_MASK, claim.record, claim.file, claim.unit, f"{what} and has no area", TAKEN)
    if annotation.has_target and not kinds:
        target, ignored = paint_reason(annotation, height, width)
        if not (target & ~ignored).any():
            what = "no pixel is left of the target, as shapes to be ignored cover it"
            scan.add(FaultKind.EMPTY_MASK, claim.record, claim.file, claim.unit, what, TAKEN)


def _area(points: np.ndarray) -> float:
    """Area of a polygon, by the shoelace formula."""
    x, y = points[:, 0].astype(np.int64), points[:, 1].astype(np.int64)
    return abs(int((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())) / 2
