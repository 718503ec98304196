"""DVQA: questions about bar charts, ``{split}_qa.json``."""

from collections.abc import Iterator

import msgspec

from lira_plugin.prepare.official_entries import (
    ConversionNotes,
    FoundFiles,
    Id,
    LeftOut,
    Record,
    convert_each,
    question_record,
    read_official,
)
from lira_plugin.structures.question_prompts import short_answer_question


class DvqaQuestion(msgspec.Struct):
    """A question of DVQA's; an answer that is a value may be written as a number."""

    question_id: Id
    image: str
    question: str
    answer: str | int | float


def convert_dvqa(found: FoundFiles, notes: ConversionNotes) -> Iterator[Record]:
    """The questions about training charts; those of the easy and the hard validation are named in their images.

    Raises:
        ValueError: the file is not of its format.
    """
    path = found.one("questions")

    def parse(position: Id, entry: DvqaQuestion) -> list[Record]:
        if not entry.image.startswith("bar_train_"):
            raise LeftOut("the chart is not of the training split")
        image = f"{found.images['images']}/{entry.image}"
        return [question_record(entry.question_id, image, entry.question, str(entry.answer), short_answer_question)]

    return convert_each(path, enumerate(read_official(path, list[msgspec.Raw])), DvqaQuestion, parse, notes)
