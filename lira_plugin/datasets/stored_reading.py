"""Annotation files that are parsed and checked once: what a reader made of them is kept in a store."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from lira_plugin.datasets.cache_folder import VARIABLE, cache_folder, digest, locked
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.datasets.record_store import Damaged, RecordStore, Unstorable, open_store, write_store
from lira_plugin.structures import Record
from lira_plugin.version import __version__

STORED_FROM = 8 * 2**20
"""Bytes of annotation files from which on their records go to a store; those of smaller ones are kept in memory."""
_ONLY_STORED: ContextVar[bool] = ContextVar("only_stored", default=False)


class NotYetStored(Exception):
    """Files that would have to be read, while that was not wanted."""


@contextmanager
def only_stored() -> Iterator[None]:
    """Let :func:`read_once` raise :class:`NotYetStored` where it would have to read large files."""
    token = _ONLY_STORED.set(True)
    try:
        yield
    finally:
        _ONLY_STORED.reset(token)


@dataclass(frozen=True)
class Reading:
    """What a reader makes of its files.

    Args:
        records: as they are to be stored.
        classes: names of the categories that ``Region.category_id`` counts through, if any.
    """

    records: Sequence[Record]
    classes: tuple[str, ...] = ()


def read_once(
    reader: Any,
    files: Sequence[str | os.PathLike],
    settings: dict[str, Any],
    report: ReaderReport,
    parse: Callable[[], Reading],
) -> Reading:
    """Read annotation files, or open the store of an earlier reading.

    What was noted in the report is stored as well, so that each start logs the same. A store is used as long as path, size and
    time of the files, the settings, and the code of the readers are the same. Nothing is stored of files that are small, have no
    record, or have bad ones that are to be raised; nor where the cache cannot be written, which is logged.

    Args:
        reader: whose class, source and ``exif`` count as settings.
        files: annotation files.
        settings: all that changes records or what is drawn of them, but for the seed.
        report: notes what is left out.
        parse: reads the files, and notes in the report.

    Raises:
        NotYetStored: see :func:`only_stored`; and whatever ``parse`` raises.
    """
    found = _states(files)
    if found is None or sum(size for _, size, _ in found) < STORED_FROM:
        return parse()
    kind = type(reader)
    key = digest(repr(found), repr(list(map(str, files))), repr(sorted(settings.items())), _code(kind))
    key = digest(key, f"{kind.__module__}.{kind.__qualname__}", reader.source, reader.exif, report.on_bad_record)
    folder = cache_folder() / "records" / f"{Path(files[0]).stem[:40]}-{key}"
    if (stored := _opened(folder, report)) is not None:
        return stored
    if _ONLY_STORED.get():
        raise NotYetStored(str(folder))
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except OSError as error:
            _log_in_memory(reader.source, error)
            return parse()
        if (stored := _opened(folder, report)) is not None:  # which another process has written meanwhile
            return stored
        reading = parse()
        if not reading.records or report.is_to_raise:
            return reading
        try:
            write_store(folder, reading.records, reading.classes, report.encoded())
            return Reading(RecordStore(folder), reading.classes)
        except (OSError, Unstorable) as error:
            _log_in_memory(reader.source, error)
            return reading


def _opened(folder: Path, report: ReaderReport) -> Reading | None:
    """A store with what was noted when it was written; None where there is none that can be used."""
    try:
        store, header = open_store(folder)
        report.restore(header.report)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, Damaged) as error:
        _log(f"{report.source}: what was stored of its files is read anew: {error}")
        return None
    return Reading(store, header.classes)


def _log_in_memory(source: str, error: Exception) -> None:
    _log(
        f"{source}: its records are not stored, so that each process holds them and each start reads them: {error}. "
        f"The folder of the cache is {cache_folder()}; {VARIABLE} names another one"
    )


def _log(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)


def _states(files: Sequence[str | os.PathLike]) -> list[tuple[str, int, int]] | None:
    """Path, bytes and time of change of each file; None where one cannot be looked at, which the reader will say better."""
    try:
        return [(os.path.abspath(file), (state := os.stat(file)).st_size, state.st_mtime_ns) for file in files]
    except OSError:
        return None


@cache
def _code(kind: type) -> str:
    """What tells one state of the code that makes records from another: this package's, and that of a reader outside of it."""
    package = Path(__file__).parents[1]
    files = {path for part in ("datasets", "structures") for path in (package / part).rglob("*.py")}
    files |= {
        Path(found) for base in kind.__mro__ if (found := getattr(sys.modules[base.__module__], "__file__", None))
    }
    return digest(__version__, *(path.read_bytes() for path in sorted(files) if path.is_file()))
