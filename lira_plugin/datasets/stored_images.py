"""Images that tables hold as bytes, written as the files that all that is behind a reader takes."""

import os
from pathlib import Path


def store_image(path: Path, content: bytes) -> None:
    """Write an image, unless it is there; several processes may do so at once.

    Raises:
        OSError: it cannot be written.
    """
    if path.is_file() and path.stat().st_size == len(content):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
