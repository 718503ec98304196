"""Images that tables hold as bytes, written as the files that all that is behind a reader takes."""

import os
from pathlib import Path
from uuid import uuid4


def store_image(path: Path, content: bytes) -> None:
    """Write an image, unless it is there; several processes may do so at once.

    Raises:
        OSError: it cannot be written.
    """
    if not (path.is_file() and path.stat().st_size == len(content)):
        store_file(path, content)


def store_file(path: Path, content: bytes) -> None:
    """Write a file under a name of its own and give it its name then; of several processes that do so the last one counts.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
