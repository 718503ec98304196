"""Images that a parquet table holds as bytes, as files.

Everything behind a reader (loading, sizes from headers, EXIF advice, batches of one image, panels, the check of data) takes the
path of a file. So images are written to a folder once, and records name them; none stays in memory, and workers share the page
cache of the disk. An image that several records hold is one file, named by its content.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lira_plugin.datasets.stored_images import store_image
from lira_plugin.written_aside import write_json

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
            folder.mkdir(parents=True, exist_ok=True)
            names = [image and _write(folder, image) for image in _images(table, column)]
            write_json(folder / "index.json", {"key": key, "names": names})
        except pa.ArrowException as error:
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
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{table} cannot be read: {error}") from error


def _listed(index: Path, key: dict[str, Any]) -> list[str | None] | None:
    """The names of images that were written before; None where the table is another one by now, or an image is gone."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        names = content["names"] if content["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    there = set(os.listdir(index.parent))
    return names if names is not None and all(name is None or name in there for name in names) else None


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


def _write(folder: Path, image: bytes) -> str:
    name = _name(image)
    store_image(folder / name, image)
    return name
