"""Where what was read from large annotation files is kept, so that only the first start reads them."""

import fcntl
import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

VARIABLE = "LIRA_CACHE"
"""Names the folder; without it, it is ``lira_plugin`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""
_CHECKSUM = 4
"""Bytes of the CRC-32 at the end of a file of integers."""


def cache_folder() -> Path:
    """The folder, which may not be there yet."""
    if found := os.environ.get(VARIABLE):
        return Path(found).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lira_plugin"


def digest(*parts: str | bytes) -> str:
    """20 letters that differ where the parts do."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()[:20]


def save_integers(path: Path, values: np.ndarray) -> None:
    """Write integers of one dimension as a .npy file, with a checksum after them.

    Raises:
        OSError: it cannot be written.
    """
    file = io.BytesIO()
    np.save(file, values)
    data = file.getvalue()
    path.write_bytes(data + zlib.crc32(data).to_bytes(_CHECKSUM, "little"))


def load_integers(path: Path, dtype: type[np.integer]) -> np.ndarray:
    """Integers as :func:`save_integers` wrote them.

    The checksum is compared before NumPy parses anything, since a damaged head makes it raise whatever Python's parser does.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, or its integers are of another dtype.
    """
    data = path.read_bytes()
    if len(data) <= _CHECKSUM or zlib.crc32(data[:-_CHECKSUM]).to_bytes(_CHECKSUM, "little") != data[-_CHECKSUM:]:
        raise ValueError(f"{path} is not as it was written")
    values = np.load(io.BytesIO(data), allow_pickle=False)
    if values.ndim != 1 or values.dtype != dtype:
        raise ValueError(f"{path} must hold {np.dtype(dtype)} of one dimension, it holds {values.dtype} {values.shape}")
    return values


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process of a machine after the other do what follows; the system lifts the lock of one that ends.

    Args:
        path: what is made; the lock is a file beside it.

    Raises:
        OSError: the folder cannot be written to, or its file system knows no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print_log(f"waiting for the process that makes {path}", "current")
            fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # also where a worker has inherited the file
