"""Entries of the official files of question sets, checked one by one, and the LLaVA records that are made of them."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from lira_plugin.datasets.entries import to_entry
from lira_plugin.datasets.findings import BadRecord

T = TypeVar("T")
Id = int | str
Record = dict[str, Any]
"""A record of a LLaVA file: ``{id, image, conversations}``, without ``image`` where it is text only."""

IMAGE = "<image>"
_SHOWN = 120


class BadOfficialRecord(ValueError):
    """An entry that is not of its format; the message is without file and record."""


class LeftOut(Exception):
    """A sound entry that the rules of its set leave out; the argument says which rule."""


@dataclass
class ConversionNotes:
    """What was met on the way through the files of a set.

    Args:
        counts: entries by what they are, such as ``questions``.
        left_out: sound entries that were left out, by reason.
        bad: entries that are not of their format, with file, record, value and reason.
    """

    counts: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class FoundFiles:
    """Where the files of a set are.

    Args:
        files: paths by the name that the set's format gives them; a name may stand for several files.
        images: folders by name, relative to the root of all sets, with ``/`` between their parts.
    """

    files: Mapping[str, tuple[Path, ...]]
    images: Mapping[str, str]

    def one(self, name: str) -> Path:
        """The path of a name that stands for one file."""
        return self.files[name][0]


def read_official(path: Path, kind: type[T]) -> T:
    """Read a file whose entries stay encoded: ``kind`` holds them as :class:`msgspec.Raw`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or not of this form.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not the official file (is it complete?): {error}. Download and unpack it again"
        ) from error


def convert_each(
    path: Path,
    entries: Iterable[tuple[Id, msgspec.Raw]],
    kind: type[T],
    parse: Callable[[Id, T], Iterable[Record]],
    notes: ConversionNotes,
) -> Iterator[Record]:
    """The records of the entries of a file.

    Args:
        path: of the file, for messages.
        entries: each with its key in the file, or its position.
        kind: schema of an entry; keys that it does not name pass.
        parse: makes records of the key and an entry.
        notes: takes the count of the entries, and those that make no record.
    """
    decoder = msgspec.json.Decoder(kind)
    for key, raw in entries:
        notes.counts["questions"] += 1
        try:
            yield from parse(key, decoder.decode(raw))
        except LeftOut as reason:
            notes.left_out[str(reason)] += 1
        except (msgspec.MsgspecError, ValueError) as error:  # of the schema, of Unicode, or of the format
            notes.bad.append(
                f"{path}: record {key!r}: {explain(error, raw, kind)}; it is {_shown(bytes(raw).decode(errors='replace'))}"
            )


def question_record(
    record_id: Id, image: str | None, question: str, answer: str, ask: Callable[[str], str] = str
) -> Record:
    """A LLaVA record of one question; ``ask`` makes the text that is asked of the bare question.

    Raises:
        BadOfficialRecord: a text holds LLaVA's placeholder of the image.
        LeftOut: the question or the answer is blank.
    """
    question, answer = question.strip(), answer.strip()
    for name, text in (("question", question), ("answer", answer)):
        if not text:
            raise LeftOut(f"the {name} is blank")
        if IMAGE in text:
            raise BadOfficialRecord(f"the {name} holds {IMAGE!r}, which stands for the image: got {text!r}")
    asked = ask(question)
    first = asked if image is None else f"{IMAGE}\n{asked}"
    conversations = [{"from": "human", "value": first}, {"from": "gpt", "value": answer}]
    return {"id": str(record_id), **({} if image is None else {"image": image}), "conversations": conversations}


def digest(*texts: str) -> str:
    """Eight hexadecimal digits that stand for texts, for records that have no id."""
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=4).hexdigest()


def explain(error: Exception, raw: msgspec.Raw, kind: type) -> str:
    """What is wrong with an entry, in words and with the value, where it is not of its schema ``kind``."""
    if isinstance(error, msgspec.ValidationError):
        try:
            to_entry(msgspec.json.decode(raw), kind)
        except BadRecord as plain:
            return str(plain)
    return str(error)


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
