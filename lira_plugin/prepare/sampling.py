"""Drawing records so that the same ones are drawn whatever order they come in."""

import hashlib
import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import msgspec

from lira_plugin.prepare.official_entries import Record


@dataclass(frozen=True)
class Sample:
    """Records that were drawn.

    Args:
        found: how many there were to draw from.
        repeated: how many of those met among the drawn ones, word for word; they are drawn once.
        lines: the drawn ones as JSON, in a random order that depends on the seed alone.
    """

    found: int
    repeated: int
    lines: tuple[bytes, ...]


def draw_records(records: Iterable[Record], wanted: int, seed: int, source: str) -> Sample:
    """Draw ``wanted`` records without replacement, all of them if there are fewer.

    Those with the smallest hashes of seed, source and record are drawn: no more than ``wanted`` are held at a time.
    """
    heap: list[tuple[int, bytes]] = []
    kept: set[int] = set()
    found = repeated = 0
    for record in records:
        found += 1
        line = msgspec.json.encode(record)
        order = _order(record, line, seed, source)
        if order in kept:
            repeated += 1
            continue
        if len(heap) < wanted:
            heapq.heappush(heap, (-order, line))
        elif heap and order < -heap[0][0]:
            removed, _ = heapq.heapreplace(heap, (-order, line))
            kept.discard(-removed)
        else:
            continue
        kept.add(order)
    return Sample(found, repeated, tuple(line for _, line in sorted(heap, reverse=True)))


def name_records(sample: Sample, source: str, wanted: int) -> Iterator[Record]:
    """``wanted`` records with ids ``source/id``, unique: a second one of the same id has ``-2`` behind it, and so on.

    Where fewer were drawn they begin again, with ids that end in ``~2``, ``~3`` and so on.
    """
    names = _unique_names(sample, source)
    for index in range(wanted if names else 0):
        turn, position = divmod(index, len(names))
        name = names[position] if turn == 0 else f"{names[position]}~{turn + 1}"
        yield {**msgspec.json.decode(sample.lines[position]), "id": name}


def _unique_names(sample: Sample, source: str) -> list[str]:
    names: dict[str, None] = {}
    for line in sample.lines:
        name = plain = f"{source}/{msgspec.json.decode(line, type=_Named).id}"
        for index in count(2):
            if name not in names:
                break
            name = f"{plain}-{index}"
        names[name] = None
    return list(names)


class _Named(msgspec.Struct):
    id: str


def _order(record: Record, line: bytes, seed: int, source: str) -> int:
    """By the id, and by the whole record among those that share one."""
    texts = (f"{seed}\0{source}\0{record['id']}".encode(), line)
    return int.from_bytes(b"".join(hashlib.blake2b(text, digest_size=8).digest() for text in texts), "big")
