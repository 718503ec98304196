"""What is wrong in keys that no reader uses: a copy of the file could not hold it."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lira_plugin.datasets.findings import TAKEN
from lira_plugin.datasets.json_records import RepeatedKey, UnreadableRecord, repeated_key
from lira_plugin.datasets.scans.scan import Scan, Unit
from lira_plugin.structures import FaultKind, shown

_SUSPECT = re.compile(rb"NaN|Infinity|\d[eE]\+?\d{3}|\d{309}|\\u[dD][89a-bA-B]")
"""What a JSON file must hold with a number that is not finite, or with half of a surrogate pair."""
_PARTED = ("groundings", "refs", "sentences")
"""Keys of records whose parts can be left out one by one."""

Fault = tuple[tuple[Any, ...], FaultKind, str]
"""Keys and indices to a value, and what is wrong with it."""


def check_unread(scan: Scan, file: str, entries: Iterator[tuple[str, Unit, Any]]) -> None:
    """Note the entries (record, unit, value) of a file that hold what :func:`faults_in` finds, in keys that nobody reads too."""
    is_suspect = not str(file).endswith(".json") or bool(_SUSPECT.search(Path(file).read_bytes()))
    for record, unit, value in entries:
        if scan.is_faulty(file, unit) or not (is_suspect or repeated_key(value)):
            continue
        for path, kind, what in faults_in(value):
            part = _smallest(unit, path)
            if not scan.is_faulty(file, part):
                scan.add(kind, record, file, part, what, TAKEN)


def faults_in(value: Any) -> Iterator[Fault]:
    """Numbers that are not finite, keys that occur several times, and texts that are none, however deep in a parsed value."""
    rest: list[tuple[tuple[Any, ...], Any]] = [((), value)]
    while rest:
        path, part = rest.pop()
        if isinstance(part, dict):
            rest += [((*path, key), inner) for key, inner in reversed(part.items())]
            kind, what = next((found for key in part if (found := _fault(key))), (None, ""))
        elif isinstance(part, list | tuple):
            rest += [((*path, index), part[index]) for index in reversed(range(len(part)))]
            continue
        else:
            kind, what = _fault(part) or (None, "")
        if kind is not None:
            yield path, kind, f"{what} under {'.'.join(map(str, path))!r}" if path else what


def _fault(part: Any) -> tuple[FaultKind, str] | None:
    if isinstance(part, float) and not math.isfinite(part):
        return FaultKind.NON_FINITE, f"a number is not finite: {part!r}"
    if isinstance(part, RepeatedKey):
        return FaultKind.DUPLICATE_KEY, f"a key occurs several times, of which JSON keeps one: {part!r}"
    if isinstance(part, UnreadableRecord):
        return FaultKind.LAYOUT, f"it cannot be read: {part.reason}"
    if isinstance(part, str) and not part.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in part):
        return FaultKind.LAYOUT, f"half of a surrogate pair is no text: {shown(part)}"
    return None


def _smallest(unit: Unit, path: tuple[Any, ...]) -> Unit:
    """The smallest thing to leave out that holds what is at ``path`` of the entry at ``unit``."""
    for index, key in enumerate(path[:-1]):
        if key in _PARTED:
            return (*unit, *path[: index + 2])
    return unit
