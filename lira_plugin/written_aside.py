"""Files that replace another are written beside it first, so that a name always stands for a complete file."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UNFINISHED = ".part"
"""Suffix of a file that is being written."""
_SURROGATE = re.compile("[\ud800-\udfff]")


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """A path beside ``path`` to write a file or a folder to; it becomes ``path`` when it is complete and on the disk.

    After an error ``path`` holds what it held before, and nothing is left beside it.

    Raises:
        OSError: the file cannot be written; the message names ``path``.
    """
    path = Path(path)
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(unfinished)  # what a killed process has left
        yield unfinished
        put_in_place(unfinished, path)
    except OSError as error:
        remove(unfinished)
        raise type(error)(error.errno, f"{path} could not be written: {error.strerror or error}") from error
    except BaseException:
        remove(unfinished)
        raise


def put_in_place(unfinished: Path, path: Path) -> None:
    """Give a complete file or folder its name, once all of it is on the disk."""
    for file in [unfinished, *unfinished.rglob("*")] if unfinished.is_dir() else [unfinished]:
        _flush(file)
    if path.is_dir():  # a folder cannot be replaced in one step; for a moment there is none
        shutil.rmtree(path)
    os.replace(unfinished, path)
    _flush(path.parent)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file aside.

    Raises:
        OSError: it cannot be written; the message names it.
    """
    with written_aside(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any, **layout: Any) -> None:
    """Write a JSON file aside; ``layout`` goes to :func:`json.dumps`.

    Raises:
        OSError: it cannot be written; the message names it.
        ValueError: a number is NaN or infinite, which JSON does not know.
    """
    write_text(path, _as_json(content, **layout) + "\n")


def write_json_list(path: str | Path, entries: Iterable[Any]) -> None:
    """Write a JSON file aside that holds a list, with a line for each entry.

    Raises:
        OSError: it cannot be written; the message names it.
        ValueError: a number is NaN or infinite, which JSON does not know.
    """
    lines = ",\n".join(json_line(entry) for entry in entries)
    write_text(path, f"[\n{lines}\n]\n")


def json_line(entry: Any) -> str:
    """JSON in one line, without its line break.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not know.
    """
    return _as_json(entry)


def check_writable(path: str | Path) -> None:
    """Refuse before long work what could not be written after it; makes the folder of ``path``.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"{path} is a folder; name a file")
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(unfinished)
        unfinished.touch()
        remove(unfinished)
    except OSError as error:
        raise type(error)(error.errno, f"{path} cannot be written: {error.strerror or error}") from error


def _as_json(content: Any, **layout: Any) -> str:
    """JSON that UTF-8 can hold: half a pair of surrogates, which is no character, stays the escape that it was read from."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, **layout)
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def remove(path: Path) -> None:
    """Remove a file or folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
