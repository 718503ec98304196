"""Where what was read from large annotation files is kept, so that only the first start reads them."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.logging import print_log

VARIABLE = "LIRA_CACHE"
"""Names the folder; without it, it is ``lira_plugin`` in ``XDG_CACHE_HOME`` or ``~/.cache``."""


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
