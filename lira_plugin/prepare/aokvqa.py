"""A-OKVQA: each question is asked twice, with its choices and with a short answer."""

from collections.abc import Iterator
from functools import partial

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
from lira_plugin.prepare.ten_answers import majority
from lira_plugin.structures.question_prompts import choice_letter, choice_question, short_answer_question


class AokvqaQuestion(msgspec.Struct):
    """A question of A-OKVQA's; ``rationales`` are not used. ``correct_choice_idx`` counts from 0."""

    split: str
    image_id: int
    question_id: str
    question: str
    choices: list[str]
    correct_choice_idx: int
    direct_answers: list[str]
    difficult_direct_answer: bool


def convert_aokvqa(found: FoundFiles, notes: ConversionNotes) -> Iterator[Record]:
    """The letter of the right choice, and the majority of the direct answers where the set does not call them difficult.

    Raises:
        ValueError: the file is not of its format.
    """
    path = found.one("questions")

    def parse(position: Id, entry: AokvqaQuestion) -> list[Record]:
        if entry.split != "train":
            raise LeftOut("the question is not of the training split")
        image = f"{found.images['images']}/{entry.image_id:012}.jpg"
        letter = choice_letter(entry.correct_choice_idx, len(entry.choices))
        ask = partial(choice_question, choices=entry.choices)
        records = [question_record(f"{entry.question_id}-choice", image, entry.question, letter, ask)]
        if entry.difficult_direct_answer:
            notes.counts["difficult direct answers, asked with choices alone"] += 1
        else:
            answer = majority(entry.direct_answers)
            name = f"{entry.question_id}-direct"
            records.append(question_record(name, image, entry.question, answer, short_answer_question))
        return records

    return convert_each(path, enumerate(read_official(path, list[msgspec.Raw])), AokvqaQuestion, parse, notes)
