"""Read a sentencepiece ``tokenizer.model`` without sentencepiece.

The file is a protocol buffer (``sentencepiece_model.proto``) of which a dozen fields matter here; reading them takes less
than the ``protobuf`` runtime as a dependency would.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class PieceType(IntEnum):
    """Kinds of pieces, numbered as in the file."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """An entry of the vocabulary; its id is its place."""

    text: str
    score: float
    type: PieceType


@dataclass(frozen=True)
class SentencePieceModel:
    """What decides how text is split."""

    pieces: tuple[Piece, ...]
    is_bpe: bool
    normalizes: bool
    """Text is rewritten (``nmt_nfkc`` and the like) or stripped of spaces before it is split."""
    add_dummy_prefix: bool
    byte_fallback: bool


def read_sentencepiece(path: str | Path) -> SentencePieceModel:
    """Read a ``tokenizer.model``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is cut off or is no sentencepiece model.
    """
    path = Path(path)
    try:
        return _parse(path.read_bytes())
    except (IndexError, KeyError, ValueError, TypeError, struct.error) as error:
        raise ValueError(f"{path} is no sentencepiece model (is the download complete?): {error}") from error


def _parse(content: bytes) -> SentencePieceModel:
    pieces, trainer, normalizer = [], {}, {}
    for number, value in _fields(content):
        if number == 1:
            piece = dict(_fields(value))
            (score,) = struct.unpack("<f", piece.get(2, bytes(4)))
            pieces.append(Piece(piece[1].decode("utf-8"), score, PieceType(piece.get(3, PieceType.NORMAL))))
        elif number == 2:
            trainer = dict(_fields(value))
        elif number == 3:
            normalizer = dict(_fields(value))
    if not pieces:
        raise ValueError("it has no pieces")
    spaces_differ = normalizer.get(4, 1) or not normalizer.get(5, 1) or trainer.get(24, 0)
    return SentencePieceModel(
        pieces=tuple(pieces),
        is_bpe=trainer.get(3, 1) == 2,
        normalizes=bool(normalizer.get(2) or spaces_differ),
        add_dummy_prefix=bool(normalizer.get(3, 1)),
        byte_fallback=bool(trainer.get(35, 0)),
    )


def _fields(content: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a message's fields: integers as they are, all else as bytes."""
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(content, place)
            yield number, value
            continue
        if wire == 2:
            size, place = _varint(content, place)
        else:
            size = {1: 8, 5: 4}[wire]
        if place + size > len(content):
            raise ValueError(f"field {number} ends after the end of the file")
        yield number, content[place : place + size]
        place += size


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, lowest first, and the place after it."""
    value, shift = 0, 0
    while True:
        byte = content[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
