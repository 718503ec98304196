"""ChartQA: questions that people wrote (``train_human.json``), and made ones (``train_augmented.json``)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from lira_plugin.prepare.official_entries import (
    ConversionNotes,
    FoundFiles,
    Id,
    Record,
    convert_each,
    digest,
    question_record,
    read_official,
)
from lira_plugin.structures.question_prompts import short_answer_question


class ChartQuestion(msgspec.Struct):
    """A question about a chart. It has no id."""

    imgname: str
    query: str
    label: str


def convert_chartqa(found: FoundFiles, notes: ConversionNotes) -> Iterator[Record]:
    """Both kinds of questions; the id of a record says which it is.

    Raises:
        ValueError: a file is not of its format.
    """

    def parse(kind: str, position: Id, entry: ChartQuestion) -> list[Record]:
        notes.counts[f"{kind} questions"] += 1
        name = f"{kind}-{Path(entry.imgname).stem}-{digest(entry.query)}"
        image = f"{found.images['images']}/{entry.imgname}"
        return [question_record(name, image, entry.query, entry.label, short_answer_question)]

    for kind in ("human", "augmented"):
        path = found.one(kind)
        entries = enumerate(read_official(path, list[msgspec.Raw]))
        yield from convert_each(path, entries, ChartQuestion, partial(parse, kind), notes)
