"""Images that a parquet table holds as bytes, as files.

Everything behind a reader (loading, sizes from headers, EXIF advice, batches of one image, panels, the check of data) takes the
path of a file. So images are written to a folder once, and records name them; none stays in memory, and workers share the page
cache of the disk. An image that several records hold is one file, named by its content.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lira_plugin.datasets.cache_folder import locked
from lira_plugin.datasets.stored_images import store_file, store_image

_TOGETHER = 16
"""Records whose images are in memory together."""
_ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp"}


def image_folder(table: str, cache: str | None) -> Path:
    """Where the images of a table lie: ``NAME.images`` beside it, or in the folder ``cache``."""
    return Path(cache or Path(table).parent) / f"{Path(table).stem}.images"


def extracted_images(table: str, column: str, cache: str | None) -> list[str | None]:
    """The path of the image of each record, None where it holds none; they are written unless they are there already.

    Args:
        table: path of the parquet file.
        column: of its images, ``{"bytes", "path"}`` or bytes.
        cache: folder for the images' folder; None takes the table's.

    Raises:
        ValueError: the folder cannot be written, or the table cannot be read.
    """
    folder = image_folder(table, cache)
    state = os.stat(table)
    key = {"size": state.st_size, "changed": state.st_mtime_ns, "column": column}
    names = _listed(folder / "index.json", key)
    if names is None:
        try:
            names = _write_all(table, column, folder / "index.json", key)
        except (pa.ArrowException, ValueError) as error:
            raise ValueError(f"{table} cannot be read: {error}") from error
        except OSError as error:
            raise ValueError(
                f"the images of {table} cannot be written to {folder} ({error}); set image_cache"
            ) from error
    return [None if name is None else str(folder / name) for name in names]


def image_names(table: str, column: str) -> list[str | None]:
    """What the files of the images would be called, without writing them; None where a record holds none.

    Raises:
        ValueError: the table cannot be read.
    """
    try:
        return [image and _name(image) for image in _images(table, column)]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{table} cannot be read: {error}") from error


def _write_all(table: str, column: str, index: Path, key: dict[str, Any]) -> list[str | None]:
    """Write the images and the index of them; of several processes of a machine one does so, and the others wait."""
    with ExitStack() as stack:
        with suppress(OSError):  # without locks each process writes all of them, which is the same in the end
            stack.enter_context(locked(index))
        if (names := _listed(index, key)) is not None:  # which another process has written meanwhile
            return names
        names, sizes = [], {}
        for image in _images(table, column):
            names.append(image and _name(image))
            if image:
                store_image(index.parent / names[-1], image)
                sizes[names[-1]] = len(image)
        store_file(index, json.dumps({"key": key, "names": names, "sizes": sizes}).encode())
    return names


def _listed(index: Path, key: dict[str, Any]) -> list[str | None] | None:
    """The names of images that were written before; None where the table is another one by now, or an image is not whole."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        if content["key"] != key:
            return None
        names, sizes = content["names"], content["sizes"]
        with os.scandir(index.parent) as entries:
            there = {entry.name: entry.stat().st_size for entry in entries}
        return names if all(name is None or there[name] == sizes[name] for name in names) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _images(table: str, column: str) -> Iterator[bytes | None]:
    """The bytes of each image; about one group of the table is in memory (with threads Arrow keeps what it has freed)."""
    with pq.ParquetFile(table) as file:
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(_TOGETHER, row_groups=[group], columns=[column], use_threads=False):
                for value in batch.column(0):
                    image = value.as_py()
                    yield (image.get("bytes") if isinstance(image, dict) else image) or None


def _name(image: bytes) -> str:
    ending = next((ending for start, ending in _ENDINGS.items() if image.startswith(start)), ".img")
    return hashlib.sha256(image).hexdigest()[:32] + ending
