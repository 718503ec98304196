"""Where the demo keeps what visitors upload and get: for a while, up to a size, each visitor's for that visitor alone."""

import os
import re
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO


class VisitorFiles:
    """Files that visitors have uploaded, ``<folder>/<visitor>/<secret>/<name>``, and those that were made for them.

    The limits hold for uploads, and again for what was made.

    Args:
        folder: of uploads alone; it is made.
        max_files: kept at a time, of all visitors; the one that was used least recently goes first.
        max_bytes: of all files together.
        max_age: seconds after which an unused file goes.
    """

    def __init__(
        self, folder: Path, max_files: int = 256, max_bytes: int = 1_000_000_000, max_age: float = 7200
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder.resolve()
        self.max_files, self.max_bytes, self.max_age = max_files, max_bytes, max_age
        self._made: dict[str, set[str]] = {}  # visitors, by path: what is equal has one path
        self._lock = threading.Lock()

    def save(self, visitor: str, name: str, content: BinaryIO) -> Path:
        """Keep a file.

        Args:
            visitor: letters and digits that stand for the one who sends it.
            name: of the file there; its letters, digits and a few signs are kept.
            content: read from where it stands.

        Raises:
            ValueError: it is larger than all files may be together.
        """
        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        if size > self.max_bytes:
            raise ValueError(f"the file has {size} bytes, the demo keeps {self.max_bytes} at most")
        with self._lock:
            remove_oldest(self._uploads(), self.max_files - 1, self.max_bytes - size, self.max_age)
            path = self.folder / visitor / secrets.token_urlsafe(16) / _file_name(name)
            path.parent.mkdir(parents=True)
            with path.open("xb") as file:
                shutil.copyfileobj(content, file)
        return path

    def find(self, path: Any, visitor: str | None = None) -> Path:
        """The file that a request names, which counts as used now.

        Args:
            path: as :meth:`save` has given it; no other spelling and no link is taken for it.
            visitor: the one whose file it has to be; None for any.

        Raises:
            ValueError: it is none of the visitor's files.
        """
        try:
            found = Path(path).resolve(strict=True)
            owner = found.relative_to(self.folder).parts[:-2]
            own = str(found) == path and len(owner) == 1 and visitor in (None, *owner)
            if own and stat.S_ISREG(found.lstat().st_mode):
                os.utime(found)
                return found
        except (
            OSError,
            ValueError,
            TypeError,
            RuntimeError,
        ):  # Python before 3.13 raises the last for a circle of links
            pass
        raise ValueError("The image is not among your uploads, or not any more: upload it.")

    def add_made(self, visitor: str, path: str) -> None:
        """Let a visitor have a file that the demo has made."""
        with self._lock:
            self._made.setdefault(path, set()).add(visitor)

    def may_have(self, visitor: str, path: str) -> bool:
        """Whether a visitor has uploaded a file or was given it; as for :meth:`find`, no link is taken for it."""
        if visitor in self._made.get(path, ()):
            made = Path(path)
            return made.is_file() and made.resolve() == made
        try:
            return bool(self.find(path, visitor))
        except ValueError:
            return False

    def tidy(self) -> None:
        """Remove what is too old, and the oldest of what is too much."""
        with self._lock:
            remove_oldest(self._uploads(), self.max_files, self.max_bytes, self.max_age)
            remove_oldest(map(Path, self._made), self.max_files, self.max_bytes, self.max_age)
            self._made = {path: visitors for path, visitors in self._made.items() if os.path.lexists(path)}

    def _uploads(self) -> list[Path]:
        return list(self.folder.glob("*/*/*"))


def remove_oldest(paths: Iterable[Path], max_files: int, max_bytes: int, max_age: float) -> None:
    """Remove files, and their folders where nothing else is in them, until the rest is within the limits.

    Args:
        paths: of the files; those that are gone already do not matter.
        max_files: count of files that may stay.
        max_bytes: of those that stay.
        max_age: seconds since they were written or used last.
    """
    found = []
    for path in paths:
        try:
            found.append((path.lstat(), path))
        except OSError:
            continue
    found.sort(key=lambda item: item[0].st_mtime, reverse=True)
    oldest, total = time.time() - max_age, 0
    for index, (status, path) in enumerate(found):
        total += status.st_size
        if index < max_files and total <= max_bytes and status.st_mtime >= oldest:
            continue
        try:
            path.unlink(missing_ok=True)
            path.parent.rmdir()
        except OSError:  # the folder has other files
            continue


def _file_name(name: str) -> str:
    """The last part of a path, without signs that mean something to a shell, a browser or a file system."""
    last = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, suffix = re.sub(r"[^\w .()+-]", "_", last).strip(". ").rpartition(".")
    return (stem[:50] + dot + suffix[:10]).strip(". ") or "image"
