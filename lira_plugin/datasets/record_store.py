"""Records in a file, decoded one by one as they are asked for.

All processes of a machine share the file through the cache of the system, and none holds objects of records: a worker's memory
does not grow with what it reads. Reading by position, and not through a memory map, makes a damaged disk an error that Python can
name, and leaves the resident memory of a process what it is.
"""

import os
import weakref
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from lira_plugin.datasets.cache_folder import load_integers, save_integers
from lira_plugin.structures import Record
from lira_plugin.written_aside import written_aside

RECORDS, OFFSETS, HEADER = "records.msgpack", "offsets.npy", "header.msgpack"
"""The files of a store: records one after the other, where each begins and the last one ends, and :class:`Header`."""
_CHECKED_TOGETHER = 2**24
"""Bytes that are read at once for the checksum."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Record)


class Damaged(ValueError):
    """A store whose files do not belong together, or are not as they were written."""


class Unstorable(ValueError):
    """A record that a store would not give back as it is."""


class Header(msgspec.Struct):
    """What is known of the records as a whole.

    Args:
        checksum: CRC-32 of the records and their offsets.
        classes: names of the categories that ``Region.category_id`` counts through, if any.
        report: what :class:`~lira_plugin.datasets.reader_report.ReaderReport` noted, encoded.
    """

    checksum: int
    classes: tuple[str, ...] = ()
    report: bytes = b""


class _ImagePath(msgspec.Struct):
    """All that is decoded of a record where only its image is asked for."""

    image_path: str | None


_IMAGE_DECODER = msgspec.msgpack.Decoder(_ImagePath)


class RecordStore(Sequence[Record]):
    """The records of a folder that :func:`write_store` has written.

    Args:
        folder: of the store.

    Raises:
        FileNotFoundError: a file of it is not there.
        Damaged: the offsets are not those of its records.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._offsets = load_integers(folder / OFFSETS, np.int64)
        except ValueError as error:
            raise Damaged(str(error)) from error
        offsets = self._offsets
        self._file = os.open(folder / RECORDS, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        size = os.fstat(self._file).st_size
        if not len(offsets) or offsets[0] != 0 or offsets[-1] != size or (np.diff(offsets) <= 0).any():
            raise Damaged(f"{folder / OFFSETS} does not tell where the records of {RECORDS} are")

    def __reduce__(self) -> tuple:
        return RecordStore, (self.folder,)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, index: int) -> Record:
        return self._decoded(index, _DECODER)

    def image_paths(self) -> list[str | None]:
        """The image of each record; nothing else of them is decoded."""
        return [self._decoded(index, _IMAGE_DECODER).image_path for index in range(len(self))]

    def checksum(self) -> int:
        """CRC-32 of the records and their offsets."""
        total = zlib.crc32(self._offsets.tobytes())
        for start in range(0, int(self._offsets[-1]), _CHECKED_TOGETHER):
            total = zlib.crc32(os.pread(self._file, _CHECKED_TOGETHER, start), total)
        return total

    def _decoded(self, index: int, decoder: msgspec.msgpack.Decoder) -> Record:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.folder} has {len(self)} records, asked for index {index}")
        start, end = int(self._offsets[index]), int(self._offsets[index + 1])
        try:
            return decoder.decode(os.pread(self._file, end - start, start))
        except (msgspec.DecodeError, ValueError) as error:
            raise Damaged(
                f"record {index} of {self.folder} cannot be decoded ({error}): the store was damaged; delete the folder, and the "
                "next start reads the annotations anew"
            ) from error


def write_store(folder: Path, records: Iterable[Record], classes: tuple[str, ...] = (), report: bytes = b"") -> None:
    """Write a store aside, so that a folder of this name is always complete.

    Raises:
        OSError: it cannot be written.
        Unstorable: a record holds what the store would change.
    """
    with written_aside(folder) as unfinished:
        unfinished.mkdir()
        offsets = [0]
        with (unfinished / RECORDS).open("wb") as file:
            for record in records:
                offsets.append(offsets[-1] + file.write(_encoded(record)))
        save_integers(unfinished / OFFSETS, np.array(offsets, np.int64))
        header = _ENCODER.encode(Header(RecordStore(unfinished).checksum(), classes, report))
        (unfinished / HEADER).write_bytes(zlib.crc32(header).to_bytes(4, "little") + header)


def _encoded(record: Record) -> bytes:
    try:
        data = _ENCODER.encode(record)
        sound = _DECODER.decode(data) == record
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise Unstorable(f"record {record.record_id} cannot be stored ({error})") from error
    if not sound:
        raise Unstorable(f"record {record.record_id} holds a value that would be another one when it is read again")
    return data


def open_store(folder: Path) -> tuple[RecordStore, Header]:
    """Open a store, after a look at all of its bytes.

    Raises:
        FileNotFoundError: it, or a file of it, is not there.
        Damaged: it is not as it was written.
    """
    store = RecordStore(folder)
    data = (folder / HEADER).read_bytes()
    if zlib.crc32(data[4:]).to_bytes(4, "little") != data[:4]:
        raise Damaged(f"{folder / HEADER} is not as it was written")
    try:
        header = msgspec.msgpack.decode(data[4:], type=Header)
    except (msgspec.DecodeError, ValueError) as error:
        raise Damaged(f"{folder / HEADER} cannot be decoded ({error})") from error
    if store.checksum() != header.checksum:
        raise Damaged(f"{folder} is not as it was written")
    return store, header
