"""Tables with images in them: tab-separated, as MMBench and SEED come, read without holding an image in memory.

Everything behind a reader takes the path of an image. So the first time that a record is asked for, its image is written to a
folder beside the table. Equal images, as those of MMBench's turned questions, are one file, named by its content.
"""

import base64
import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.stored_images import store_image
from lira_plugin.json_file import check_is_file
from lira_plugin.structures import FaultKind

_LONGEST = 2**31 - 1
"""Characters of the longest cell that is read."""
_SHORTEST = 64
"""Characters of the longest cell that is the index of another record, whose image this one has too."""
_ENDINGS = {"/9j/": ".jpg", "iVBOR": ".png", "UklGR": ".webp", "R0lGOD": ".gif", "Qk": ".bmp"}
"""How files end whose base64 begins so."""


@dataclass(frozen=True)
class Cells:
    """A record of a table.

    Args:
        values: its cells by column, without the image.
        image: what it says of its image: the name that the file will have, or the index of another record.
        start: first byte of the record in the table.
        length: bytes of the record.
    """

    values: dict[str, str]
    image: str
    start: int
    length: int


class ImageTable:
    """A tab-separated file with a column ``image`` of images in base64.

    Args:
        path: of the file.
        cache: folder for the images' folder, ``NAME.images``; None takes the table's.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no table.
    """

    image = "image"

    def __init__(self, path: str, cache: str | None = None) -> None:
        check_is_file(path)
        self.path = path
        self.folder = Path(cache or Path(path).parent) / f"{Path(path).stem}.images"
        with open(path, "rb") as file:
            self.columns = next((cells for cells, _, _ in _records(file)), [])
        if repeated := sorted({name for name in self.columns if self.columns.count(name) > 1}):
            raise ValueError(f"{path} has several columns {repeated}: keep one of each")

    def __iter__(self) -> Iterator[Cells | BadRecord]:
        """The records, one after the other; what is wrong with those that are not whole."""
        with open(self.path, "rb") as file:
            records = _records(file)
            next(records, None)
            for cells, start, length in records:
                if not cells:  # a blank line
                    continue
                if len(cells) != len(self.columns):
                    yield BadRecord(f"it must have {len(self.columns)} cells", f"got {len(cells)}")
                    continue
                values = dict(zip(self.columns, cells))
                image = values.pop(self.image)
                if image.startswith("["):
                    yield BadRecord(
                        "it has a list of images; a record can have one", f"got {image[:40]!r}", FaultKind.OTHER_INPUT
                    )
                    continue
                yield Cells(values, image.strip() if len(image) <= _SHORTEST else _file_name(image), start, length)

    def file_of(self, name: str) -> str:
        """The path that an image has once it is written."""
        return str(self.folder / name)

    def write_image(self, cells: Cells) -> None:
        """Write the image of a record, unless it is there; several processes may do so at once.

        Raises:
            ValueError: it is not base64, or the file cannot be written.
        """
        path = self.folder / cells.image
        if path.is_file() and path.stat().st_size:
            return
        with open(self.path, "rb") as file:
            file.seek(cells.start)
            text = dict(zip(self.columns, next(_records(file))[0]))[self.image]
        try:
            store_image(path, base64.b64decode("".join(_without_head(text).split()), validate=True))
        except ValueError as error:  # binascii's among them
            raise ValueError(f"{self.path}: the image at byte {cells.start} is not base64: {error}") from error
        except OSError as error:
            raise ValueError(
                f"{self.path}: its images cannot be written to {self.folder} ({error}); set image_cache"
            ) from error


def _without_head(text: str) -> str:
    """The base64 of an image, without what a web page writes before it (``data:image/jpeg;base64,``)."""
    return text.partition(",")[2] if text.startswith("data:") else text


def _file_name(text: str) -> str:
    ending = next((ending for start, ending in _ENDINGS.items() if _without_head(text).startswith(start)), ".img")
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32] + ending


def _records(file: Any) -> Iterator[tuple[list[str], int, int]]:
    """The cells of each record of a binary file, from where it stands, with its first byte and its length."""
    end = file.tell()

    def lines() -> Iterator[str]:
        nonlocal end
        for line in file:
            text = line.decode("utf-8-sig" if end == 0 else "utf-8", "surrogateescape")
            end += len(line)
            yield text

    reader = csv.reader(lines(), delimiter="\t")
    while True:
        start = end
        before = csv.field_size_limit(_LONGEST)  # which all readers of a process share
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{file.name} is no tab-separated table: {error}, at byte {start}") from error
        finally:
            csv.field_size_limit(before)
        if cells is None:
            return
        yield cells, start, end - start
