"""Files of predictions of any model: read one record at a time, and named in every message."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lira_plugin.json_file import check_is_file, parse_json, read_json
from lira_plugin.structures import shown


class Entry(NamedTuple):
    """An object of a file of predictions, and where it stands, for messages."""

    name: str
    content: dict[str, Any]


class PredictionFolder:
    """A folder with one JSON file an image, ``<image id>.json``.

    Raises:
        FileNotFoundError: it holds no such file.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._ids = {file.stem for file in self.path.glob("*.json")}
        if not self._ids:
            raise FileNotFoundError(f"{self.path} holds no prediction: there must be one file <image id>.json an image")

    def ids(self) -> set[str]:
        """Of the images that have a prediction."""
        return set(self._ids)

    def read(self, image_id: str) -> Entry | None:
        """The prediction of an image, None where there is none.

        Raises:
            ValueError: its file is not a JSON object.
        """
        if image_id not in self._ids:
            return None
        file = self.path / f"{image_id}.json"
        content = read_json(file)
        if not isinstance(content, dict):
            raise ValueError(f"{file} must hold an object, it holds {shown(content)}")
        return Entry(str(file), content)


class PredictionLines:
    """A JSON Lines file; where each record begins is kept, and the record is read when it is asked for.

    Args:
        path: the file.
        id_of: the image id of a record, None to leave the record out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not a JSON object, or two records are of one image.
    """

    def __init__(self, path: str | os.PathLike, id_of: Callable[[Entry], str | None]) -> None:
        self.path = Path(path)
        self._starts: dict[str, tuple[int, int]] = {}
        for line, start, entry in _lines(self.path):
            image_id = id_of(entry)
            if image_id is not None and image_id in self._starts:
                raise ValueError(
                    f"{self.path}: lines {self._starts[image_id][0]} and {line} are both of image {image_id!r}; one prediction "
                    "an image is scored: remove one of them"
                )
            if image_id is not None:
                self._starts[image_id] = (line, start)

    def ids(self) -> set[str]:
        """Of the images that have a prediction."""
        return set(self._starts)

    def read(self, image_id: str) -> Entry | None:
        """The prediction of an image, None where there is none."""
        if image_id not in self._starts:
            return None
        line, start = self._starts[image_id]
        with self.path.open("rb") as file:
            file.seek(start)
            return _parse(self.path, line, file.readline())


Predictions = PredictionFolder | PredictionLines


def open_predictions(path: str | os.PathLike, id_of: Callable[[Entry], str | None]) -> Predictions:
    """Open a folder of JSON files or a JSON Lines file; for the latter, ``id_of`` says which image a record is of."""
    return PredictionFolder(path) if Path(path).is_dir() else PredictionLines(path, id_of)


def read_lines(path: str | os.PathLike) -> Iterator[Entry]:
    """The objects of a JSON Lines file one after the other; blank lines are passed over.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not a JSON object.
    """
    return (entry for _, _, entry in _lines(Path(path)))


def file_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal digits: says which data a score is of."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_hashes(paths: Mapping[str, str | os.PathLike]) -> dict[str, dict[str, str]]:
    """Path and SHA-256 of files by what they are, for the settings beside a score."""
    return {name: {"path": str(path), "sha256": file_hash(path)} for name, path in paths.items()}


def check_score(value: Any, name: str) -> float:
    """The score of a mask as a float; ``name`` says whose it is.

    Raises:
        ValueError: it is no finite number, or too large for a float.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"{name}: the score of a mask must be a finite number, got {shown(value)}")
    return float(value)


def _lines(path: Path) -> Iterator[tuple[int, int, Entry]]:
    """Line from 1, first byte, object."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder of predictions {path}")
    check_is_file(path)
    with path.open("rb") as file:
        start = 0
        for line, text in enumerate(file, 1):
            if text.strip():
                yield line, start, _parse(path, line, text)
            start += len(text)


def _parse(path: Path, line: int, text: bytes) -> Entry:
    name = f"{path}, line {line}"
    try:
        content = parse_json(text.decode("utf-8-sig"), name)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} must hold an object, it holds {shown(content)}")
    return Entry(name, content)
