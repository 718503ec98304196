"""Folders of PNG label maps: an integer a class, and a file that names the classes."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.datasets.mask_values import IGNORED_VALUE, MaskFile, read_labels
from lira_plugin.datasets.phrase_masks import PhraseMask, PhraseMaskDataset, plain_phrase
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.json_file import read_json, read_text
from lira_plugin.registry import DATASETS
from lira_plugin.structures import ExifRule, FaultKind, shown

NAMES_FILES = tuple(
    f"{stem}.{end}" for stem in ("classes", "labels", "names", "class_names") for end in ("txt", "json")
)
"""Files of names that are looked for."""
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_BACKGROUND = re.compile(r"_*background_*", re.IGNORECASE)
_WITH_VALUE = re.compile(r"(\d+)\s*[:,;=\s]\s*(\S.*)")


@DATASETS.register_module()
class LabelMapDataset(PhraseMaskDataset):
    """Semantic label maps: ``data_root/images/NAME.jpg`` and ``data_root/masks/NAME.png``, with ``classes.txt`` beside them.

    A map has an integer a pixel; of a palette PNG its indices count. 0 is the background, 255 is ignored: such pixels do not
    count in an evaluation. Each other value that an image has is a phrase. All maps are read at the start, to know their values.
    Training and evaluation are those of :class:`~lira_plugin.datasets.phrase_masks.PhraseMaskDataset`; a record is called by
    image and value, such as ``wall_1-3``.

    Names: a JSON object ``{"1": "cat"}`` or ``{"cat": 1}``, or a text with a line a class. Lines are ``1 cat``, or ``cat`` alone;
    then the first one is value 1, or value 0 if it says ``background``.

    Args:
        data_root: folder of it all.
        image_dir, mask_dir: folders in it.
        names: file of names in it; None looks for :data:`NAMES_FILES`.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        source: name of the data set and split; metrics group by it.
        num_expressions: most phrases a record when training; None for evaluation.
        seed: seed of the random choices.
        on_bad_record: ``raise``, or ``skip`` to leave maps out that cannot be used.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        FileNotFoundError: a folder or the file of names is not there.
        ValueError: nothing can be read, or, with ``on_bad_record='raise'``, a map has a value without name, no image, or cannot
            be read. All are named at once.
    """

    def __init__(
        self,
        data_root: str,
        image_dir: str = "images",
        mask_dir: str = "masks",
        names: str | None = None,
        pipeline: Pipeline | None = None,
        source: str = "label_maps",
        num_expressions: int | None = None,
        seed: int = 0,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, pipeline, num_expressions, seed, exif)
        images, masks = Path(data_root, image_dir), Path(data_root, mask_dir)
        for folder in (images, masks):
            if not folder.is_dir():
                raise FileNotFoundError(f"there is no folder {folder}; check data_root, image_dir and mask_dir")
        names_file = find_names(data_root, names)
        phrases = read_names(names_file)
        self.protocol |= {"files": [names_file, str(masks)], "per": "phrase"}
        report = ReaderReport(source, on_bad_record)
        pictures: dict[str, list[Path]] = {}
        for path in sorted(images.iterdir()):
            if path.suffix.lower() in PICTURES:
                pictures.setdefault(path.stem, []).append(path)
        found: list[PhraseMask] = []
        for path in sorted(masks.glob("*.png")):
            try:
                found += _phrases(path, pictures.pop(path.stem, []), phrases, names_file)
            except BadRecord as error:
                report.bad(path, path.stem, f"record {path.stem}", error)
        for stem in pictures:
            report.left_out(images, stem, "the image has no label map", kind=FaultKind.SEG_MASK_MISMATCH)
        self._take(found, str(masks), report)


def find_names(data_root: str, names: str | None = None) -> str:
    """The file of names in a folder.

    Raises:
        FileNotFoundError: there is none.
    """
    candidates = [names] if names else NAMES_FILES
    for name in candidates:
        if os.path.isfile(os.path.join(data_root, name)):
            return os.path.join(data_root, name)
    raise FileNotFoundError(
        f"{data_root} has no file of class names; one of {', '.join(candidates)} says what values mean"
    )


def read_names(path: str) -> dict[int, str]:
    """Phrase of each value.

    Raises:
        ValueError: it is no file of names, or a value has two; the message names it.
    """
    found: dict[int, str] = {}
    for value, name in _json_names(path) if path.endswith(".json") else _text_names(path):
        if value in found and found[value] != name:
            raise ValueError(f"{path}: value {value} has two names, {found[value]!r} and {name!r}")
        found[value] = name
    if not any(value not in (0, IGNORED_VALUE) for value in found):
        raise ValueError(f"{path} names no class; a line is '1 cat', and 0 is the background")
    return found


def _text_names(path: str) -> Iterator[tuple[int, str]]:
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    lines = [line for line in lines if line.strip("_").lower() != "ignore"]  # LabelMe's, for value -1
    pairs = [_WITH_VALUE.fullmatch(line) for line in lines]
    if lines and all(pairs):
        yield from ((int(pair[1][:9]), plain_phrase(pair[2])) for pair in pairs)
        return
    first = 0 if lines and _BACKGROUND.fullmatch(lines[0]) else 1
    yield from ((first + index, plain_phrase(line)) for index, line in enumerate(lines))


def _json_names(path: str) -> Iterator[tuple[int, str]]:
    content = read_json(path)
    if isinstance(content, list):
        content = {entry.get("id"): entry.get("name") for entry in content if isinstance(entry, dict)}
    if not isinstance(content, dict):
        raise ValueError(f'{path} must be an object such as {{"1": "cat"}}, got {shown(content)}')
    for key, value in content.items():
        key, value = (value, key) if _is_value(value) and not _is_value(key) else (key, value)
        if not _is_value(key) or not isinstance(value, str) or not value.strip():
            raise ValueError(f'{path}: an entry must be such as "1": "cat", got {shown(key)}: {shown(value)}')
        yield int(key), plain_phrase(value)


def _is_value(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isdigit() and len(value) < 10
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9


def _phrases(path: Path, images: list[Path], names: dict[int, str], names_file: str) -> Iterator[PhraseMask]:
    """The phrases of a map, in the order of their values."""
    if len(images) != 1:
        reason = "several images have the name of the label map" if images else "there is no image of its name"
        raise BadRecord(reason, ", ".join(map(str, images)), FaultKind.MISSING_IMAGE)
    try:
        labels = read_labels(str(path))
    except (OSError, ValueError) as error:
        raise BadRecord("the label map cannot be read", str(error), FaultKind.UNDECODABLE_IMAGE) from None
    values = [value for value in np.unique(labels).tolist() if value not in (0, IGNORED_VALUE)]
    if unknown := [value for value in values if value not in names]:
        raise BadRecord(
            "values of the label map have no name",
            f"{unknown[:9]}; {names_file} names {shown(sorted(names))}",
            FaultKind.UNKNOWN_ID,
        )
    united: dict[str, list[int]] = {}
    for value in values:
        united.setdefault(names[value], []).append(value)
    return (
        PhraseMask(
            f"{path.stem}-{own[0]}",
            str(images[0]),
            phrase,
            tuple(MaskFile(str(path), value) for value in own),
            labels.shape,
        )
        for phrase, own in united.items()
    )
