"""Folders of PNG label maps: an integer a class, and a file that names the classes."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.datasets.json_records import read_json_records
from lira_plugin.datasets.mask_values import IGNORED_VALUE, MaskFile, read_labels
from lira_plugin.datasets.phrase_masks import PhraseMask, PhraseMaskDataset, plain_phrase
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.json_file import read_text
from lira_plugin.registry import DATASETS
from lira_plugin.structures import ExifRule, FaultKind, shown

NAMES_FILES = tuple(
    f"{stem}.{end}" for stem in ("classes", "labels", "names", "class_names") for end in ("txt", "json")
)
"""Files of names that are looked for."""
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_BACKGROUND = re.compile(r"_*background_*", re.IGNORECASE)
_WITH_VALUE = re.compile(r"(\d{1,9})\s*[:,;=\s]\s*(\S.*)")
_LIKE_A_VALUE = re.compile(r"""\W*\d+([\s.)\]}>:,;="'|].*)?|.*[:,;=]\s*\d+""")
"""Lines that have a value in another form: ``-1 cat``, ``1. cat``, ``[1] cat``, ``1`` alone, ``cat: 1``."""
_VALUE_BEHIND = re.compile(r".*\s(\d{1,9})")


@DATASETS.register_module()
class LabelMapDataset(PhraseMaskDataset):
    """Semantic label maps: ``data_root/images/NAME.jpg`` and ``data_root/masks/NAME.png``, with ``classes.txt`` beside them.

    A map has an integer a pixel; of a palette PNG its indices count. 0 is the background, 255 is ignored: such pixels do not
    count in an evaluation. Each other value that an image has is a phrase. All maps are read at the start, to know their values.
    Training and evaluation are those of :class:`~lira_plugin.datasets.phrase_masks.PhraseMaskDataset`; a record is called by
    image and value, such as ``wall_1-3``.

    Names: a JSON object ``{"1": "cat"}`` or ``{"cat": 1}``, or a text with a line a class. Lines are ``1 cat``, or ``cat`` alone;
    then the first one is value 1, or value 0 if it says ``background``. Lines that begin with ``#`` are comments. Lines of both
    forms in one file are refused, since names would be those of other values.

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
    lines = [(index, line.strip()) for index, line in enumerate(read_text(path).splitlines(), 1)]
    lines = [(index, line) for index, line in lines if line and not line.startswith("#")]
    if lines and lines[0][1].strip("_").lower() == "ignore":  # LabelMe's, for value -1
        del lines[0]
    if lines and lines[-1][1].strip("_").lower() == "ignore":
        del lines[-1]
    pairs = [_WITH_VALUE.fullmatch(line) for _, line in lines]
    if any(pairs):
        for (index, line), pair in zip(lines, pairs):
            if pair is None:
                raise ValueError(f"{path} line {index}: {line!r} has no value as other lines have; write '1 cat'")
            yield int(pair[1]), _name(pair[2], f"{path} line {index}")
        return
    first = 0 if lines and _BACKGROUND.fullmatch(lines[0][1]) else 1
    behind = [match and int(match[1]) for match in (_VALUE_BEHIND.fullmatch(line) for _, line in lines)]
    if len(lines) > 1 and None not in behind and behind != list(range(1, len(lines) + 1)):
        raise ValueError(
            f"{path} line {lines[0][0]}: {lines[0][1]!r} ends with a value; it stands first, such as '1 cat'"
        )
    for value, (index, line) in enumerate(lines, first):
        if _LIKE_A_VALUE.fullmatch(line):
            raise ValueError(
                f"{path} line {index}: {line!r} is neither a value from 0 to 999999999 and a name, such as '1 cat', nor a name"
            )
        if line.strip("_").lower() == "ignore":
            raise ValueError(
                f"{path} line {index}: {line!r} is not the first or last line; write values, such as '1 cat'"
            )
        yield value, _name(line, f"{path} line {index}")


def _name(text: str, where: str) -> str:
    if "\t" in text or "::" in text:
        raise ValueError(f"{where}: {text!r} holds more than a name; a line is '1 cat' or 'cat'")
    return plain_phrase(text)


def _json_names(path: str) -> Iterator[tuple[int, str]]:
    content = read_json_records(path)
    if isinstance(content, list):
        for index, entry in enumerate(content):
            if not isinstance(entry, dict) or not {"id", "name"} <= entry.keys():
                raise ValueError(
                    f'{path}: entry {index} must be such as {{"id": 1, "name": "cat"}}, got {shown(entry)}'
                )
        pairs = [(entry["id"], entry["name"]) for entry in content]
    elif isinstance(content, dict):
        pairs = [
            (value, key) if _is_value(value) and not _is_value(key) else (key, value) for key, value in content.items()
        ]
    else:
        raise ValueError(f'{path} must be an object such as {{"1": "cat"}}, got {shown(content)}')
    for value, name in pairs:
        if not _is_value(value) or not isinstance(name, str) or not name.strip():
            raise ValueError(f'{path}: an entry must be such as "1": "cat", got {shown(value)}: {shown(name)}')
        yield int(value), plain_phrase(name)


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
