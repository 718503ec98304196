"""Images that a training shares with a validation or test."""

import os
import re
from collections.abc import Iterable

from lira_plugin.datasets.findings import TAKEN
from lira_plugin.datasets.scans import Scan
from lira_plugin.structures import FaultKind

_COCO = re.compile(r"(?:COCO_[a-z]+\d{4}_)?(\d{12})\.\w+")
"""COCO's names: ``COCO_train2014_000000000009.jpg`` and ``000000000009.jpg`` are one image."""


def image_key(path: str, file: str) -> tuple[str, ...]:
    """What images are told apart by: COCO's id, else the file; of a picture with a JSON file beside it its name."""
    name = os.path.basename(path)
    if coco := _COCO.fullmatch(name):
        return "coco", coco.group(1)
    if os.path.splitext(path)[0] == os.path.splitext(file)[0]:
        return "beside", os.path.dirname(os.path.dirname(os.path.realpath(path))), name
    return ("file", os.path.realpath(path))


def note_leakage(train: Iterable[Scan], evaluated: Iterable[Scan]) -> None:
    """Note the images of ``train`` that are in ``evaluated`` as well."""
    others: dict[tuple[str, ...], str] = {}
    for scan in evaluated:
        for claim in scan.images:
            others.setdefault(image_key(claim.path, claim.file), f"{scan.source} ({claim.record})")
    for scan in train:
        for claim in scan.images:
            other = others.get(image_key(claim.path, claim.file))
            if other is not None:
                what = f"its image {claim.path} is also one of {other}; leave it out of the training"
                for file, unit in claim.uses or [(claim.file, claim.unit)]:
                    scan.add(FaultKind.LEAKAGE, claim.record, file, unit, what, TAKEN)
