"""JSON annotations, read so that nothing in them is lost without a word and one broken record does not hide the others."""

import os
import re
from dataclasses import dataclass
from typing import Any

from lira_plugin.json_file import parse_json, read_text

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_KEY = re.compile(r'\s*("(?:[^"\\]|\\.)*")\s*:', re.DOTALL)


@dataclass(frozen=True)
class RepeatedKey:
    """Stands for the value of a key that occurs several times in one object: JSON readers keep one of them in silence."""

    key: str
    count: int

    def __repr__(self) -> str:
        return f"{self.count} values (the key {self.key!r} occurs {self.count} times in one object)"


@dataclass(frozen=True)
class UnreadableRecord:
    """Stands for a record that is no JSON by itself."""

    reason: str

    def __repr__(self) -> str:
        return f"a record that cannot be read: {self.reason}"


def repeated_key(value: Any) -> RepeatedKey | None:
    """The first repeated key in a parsed value, however deep."""
    rest = [value]
    while rest:
        part = rest.pop()
        if isinstance(part, RepeatedKey):
            return part
        if isinstance(part, dict):
            rest.extend(part.values())
        elif isinstance(part, list | tuple) and not {int, float}.issuperset(map(type, part)):
            rest.extend(part)
    return None


def read_json_records(path: str | os.PathLike) -> Any:
    """Read a JSON file of annotations: a list of records, or an object of such lists.

    Repeated keys become :class:`RepeatedKey`. Where the file as a whole is no JSON, its records are read one by one, and those
    that cannot be read become :class:`UnreadableRecord`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file, not UTF-8, cut off, or no JSON outside of its records.
    """
    text = read_text(path)
    try:
        return parse_json(text, path, _object)
    except ValueError as error:
        try:
            return _one_by_one(text)
        except ValueError:
            raise error from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        found.update((key, RepeatedKey(key, keys.count(key))) for key in found if keys.count(key) > 1)
    return found


def _one_by_one(text: str) -> Any:
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "[":
        return [parse_record(text[slice(*part)]) for part in _parts(text, start, len(text))]
    if text[start : start + 1] != "{":
        raise ValueError("neither a list nor an object")
    sections = []
    for begin, end in _parts(text, start, len(text)):
        key = _KEY.match(text, begin, end)
        if key is None:
            raise ValueError("a section has no key")
        begin = key.end() + len(text[key.end() : end]) - len(text[key.end() : end].lstrip())
        is_list = text[begin] == "["
        value = (
            [parse_record(text[slice(*part)]) for part in _parts(text, begin, end)]
            if is_list
            else parse_record(text[begin:end])
        )
        sections.append((parse_json(key.group(1), "the key"), value))
    return _object(sections)


def parse_record(text: str) -> Any:
    """Parse one record; :class:`UnreadableRecord` where it is no JSON."""
    try:
        return parse_json(text, "it", _object)
    except ValueError as error:
        return UnreadableRecord(f"{error}: {text.strip()[:40]!r}")


def _parts(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Where what stands between the commas of the list or object at ``text[start:end]`` begins and ends; none if it is empty.

    Raises:
        ValueError: its brackets do not close, or something follows it.
    """
    depth, begin, parts = 0, start + 1, []
    for token in _TOKEN.finditer(text, start, end):
        mark = token.group()
        if mark in ("[", "{"):
            depth += 1
        elif mark in ("]", "}"):
            depth -= 1
            if depth == 0:
                if text[token.end() : end].strip():
                    raise ValueError("something follows the end")
                if parts or text[begin : token.start()].strip():
                    parts.append((begin, token.start()))
                return parts
        elif mark == "," and depth == 1:
            parts.append((begin, token.start()))
            begin = token.end()
    raise ValueError("brackets do not close")
