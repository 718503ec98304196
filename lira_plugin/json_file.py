"""Reading JSON files, with messages that name the file."""

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any


def check_is_file(path: str | os.PathLike) -> None:
    """Refuse what exists and is no regular file: a pipe would be waited for without end.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is a folder, a pipe or a device.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no regular file (a pipe or device)"
        raise ValueError(f"{path} is {kind}; give the path of a file")


def read_text(path: str | os.PathLike) -> str:
    """Read a text file in UTF-8; a byte order mark at its start is no part of the text.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file, or not UTF-8; the message says where.
    """
    check_is_file(path)
    content = Path(path).read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ValueError(f"{path} is UTF-16, not UTF-8; save it as UTF-8") from None
        line = content.count(b"\n", 0, error.start) + 1
        around = content[max(0, error.start - 20) : error.start + 20]
        raise ValueError(
            f"{path} is not UTF-8: byte {error.start} (line {line}) is {content[error.start : error.start + 1]!r}, in "
            f"{around!r}; save the file as UTF-8"
        ) from None


def parse_json(text: str, path: str | os.PathLike, hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Parse the text of a JSON file.

    Args:
        text: of the file.
        path: for messages.
        hook: makes an object of its (key, value) pairs; None makes dicts.

    Raises:
        ValueError: it is not JSON, perhaps because it is cut off, or nested too deep.
    """
    if not text.strip():
        raise ValueError(f"{path} is not a JSON file (is it complete?): it is empty")
    try:
        return json.loads(text, object_pairs_hook=hook)
    except RecursionError:
        raise ValueError(f"{path} is not a JSON file that can be read: lists or objects are nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file (is it complete?): {error}") from error


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file, not UTF-8 or not JSON, perhaps because it is cut off.
    """
    return parse_json(read_text(path), path)
