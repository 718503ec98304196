"""Images that a training shares with a validation or test."""

import filecmp
import os
import re
from collections.abc import Iterable
from pathlib import Path

from lira_plugin.datasets.findings import TAKEN
from lira_plugin.datasets.scans import ImageClaim, Scan
from lira_plugin.structures import FaultKind

_COCO = re.compile(r"COCO_[a-z]+\d{4}_(\d{12})\.\w+")
_COCO_PLAIN = re.compile(r"(\d{12})\.\w+")
_COCO_FOLDER = re.compile(r"(train|val|test|unlabeled)20(14|15|17)")
"""COCO's names: ``train2014/COCO_train2014_000000000009.jpg`` and ``train2017/000000000009.jpg`` are one image."""


def coco_id(path: str) -> str | None:
    """COCO's id of an image; None for others. A name of twelve digits alone is COCO's only in a folder of COCO's."""
    name = os.path.basename(path)
    if own := _COCO.fullmatch(name):
        return own.group(1)
    folders = (Path(path).parent.name, Path(os.path.realpath(path)).parent.name)
    plain = _COCO_PLAIN.fullmatch(name)
    return plain.group(1) if plain and any(map(_COCO_FOLDER.fullmatch, folders)) else None


def image_keys(claim: ImageClaim) -> list[tuple[str, ...]]:
    """What images are told apart by: the file, and COCO's id; of a picture with a JSON file beside it also its name."""
    real = os.path.realpath(claim.path)
    keys: list[tuple[str, ...]] = [("file", real)]
    if (own := coco_id(claim.path)) is not None:
        keys.append(("coco", own))
    if os.path.splitext(claim.path)[0] == os.path.splitext(claim.file)[0]:
        keys.append(("beside", os.path.dirname(os.path.dirname(real)), os.path.basename(claim.path)))
    return keys


def _is_same(key: tuple[str, ...], path: str, other: str) -> bool:
    """Whether images of one key are one image: of pictures of one name in two folders the content decides."""
    if key[0] != "beside":
        return True
    try:
        return filecmp.cmp(path, other, shallow=False)
    except OSError:  # a missing image is a finding of its own
        return False


def note_leakage(train: Iterable[Scan], evaluated: Iterable[Scan]) -> None:
    """Note the images of ``train`` that are in ``evaluated`` as well."""
    others: dict[tuple[str, ...], tuple[str, str]] = {}
    for scan in evaluated:
        for claim in scan.images:
            for key in image_keys(claim):
                others.setdefault(key, (claim.path, f"{scan.source} ({claim.record})"))
    for scan in train:
        for claim in scan.images:
            met = ((key, *others[key]) for key in image_keys(claim) if key in others)
            other = next((name for key, path, name in met if _is_same(key, claim.path, path)), None)
            if other is not None:
                what = f"its image {claim.path} is also one of {other}; leave it out of the training"
                for file, unit in claim.uses or [(claim.file, claim.unit)]:
                    scan.add(FaultKind.LEAKAGE, claim.record, file, unit, what, TAKEN)
