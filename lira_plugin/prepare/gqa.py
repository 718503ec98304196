"""GQA: questions by id, the balanced ones in one file, all of them in several."""

from collections.abc import Iterator

import msgspec

from lira_plugin.datasets.gqa_questions import GqaQuestion
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


def convert_gqa(found: FoundFiles, notes: ConversionNotes) -> Iterator[Record]:
    """The questions of the balanced split, from whichever files there are.

    Raises:
        ValueError: a file is not of its format.
    """

    def parse(question_id: Id, entry: GqaQuestion) -> list[Record]:
        if not entry.is_balanced:
            raise LeftOut("the question is not of the balanced split")
        notes.counts["balanced questions"] += 1
        image = f"{found.images['images']}/{entry.image_id}.jpg"
        return [question_record(question_id, image, entry.question, entry.answer, short_answer_question)]

    for path in found.files["questions"]:
        entries = read_official(path, dict[str, msgspec.Raw]).items()
        yield from convert_each(path, entries, GqaQuestion, parse, notes)
