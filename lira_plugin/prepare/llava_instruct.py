"""LLaVA-Instruct-150k, which is in LLaVA's layout already."""

from collections.abc import Iterator

import msgspec

from lira_plugin.prepare.official_entries import (
    IMAGE,
    BadOfficialRecord,
    ConversionNotes,
    FoundFiles,
    Id,
    Record,
    convert_each,
    read_official,
)


class Message(msgspec.Struct):
    """A message of a conversation."""

    speaker: str = msgspec.field(name="from")
    value: str


class InstructEntry(msgspec.Struct):
    """A conversation. Its ``id`` is that of its image: several conversations may share it."""

    id: Id
    image: str
    conversations: list[Message]


def convert_llava(found: FoundFiles, notes: ConversionNotes) -> Iterator[Record]:
    """The conversations as they are, with their images below the common root.

    Raises:
        ValueError: the file is not of its format.
    """
    path = found.one("conversations")

    def parse(position: Id, entry: InstructEntry) -> list[Record]:
        _check_turns(entry.conversations)
        return [
            {
                "id": str(entry.id),
                "image": f"{found.images['images']}/{entry.image}",
                "conversations": msgspec.to_builtins(entry.conversations),
            }
        ]

    return convert_each(path, enumerate(read_official(path, list[msgspec.Raw])), InstructEntry, parse, notes)


def _check_turns(messages: list[Message]) -> None:
    if not messages or len(messages) % 2:
        raise BadOfficialRecord(f"'conversations' must be pairs of question and answer, got {len(messages)} messages")
    for index, message in enumerate(messages):
        speaker = ("human", "gpt")[index % 2]
        if message.speaker != speaker:
            raise BadOfficialRecord(f"message {index} must be from {speaker!r}, got {message.speaker!r}")
        if message.value.count(IMAGE) > (index == 0):
            raise BadOfficialRecord(f"message {index} holds {IMAGE!r}, which may stand once, in the first question")
