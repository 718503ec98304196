"""AI2D: a file of multiple-choice questions for each diagram, and the ids of the diagrams that are for testing."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

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
from lira_plugin.structures.question_prompts import choice_letter, choice_question


class Diagram(msgspec.Struct, rename="camel"):
    """The questions about a diagram, by their texts."""

    image_name: str
    questions: dict[str, msgspec.Raw]


class DiagramQuestion(msgspec.Struct, rename="camel"):
    """A question; ``correct_answer`` counts from 0. ``abc_label``: the choices name letters that replace labels."""

    question_id: str
    abc_label: bool
    answer_texts: list[str]
    correct_answer: int


def convert_ai2d(found: FoundFiles, notes: ConversionNotes) -> Iterator[Record]:
    """The letter of the right choice. A diagram whose labels are replaced by letters has a picture of its own.

    Raises:
        ValueError: a file is not of its format.
    """
    test_ids = {line.strip().removesuffix(".png") for line in found.one("test_ids").read_text().splitlines()}
    for path in found.files["questions"]:
        yield from _diagram(path, found, test_ids, notes)


def _diagram(path: Path, found: FoundFiles, test_ids: set[str], notes: ConversionNotes) -> Iterator[Record]:
    diagram = read_official(path, Diagram)
    is_for_testing = Path(diagram.image_name).stem in test_ids

    def parse(question: Id, entry: DiagramQuestion) -> list[Record]:
        if is_for_testing:
            raise LeftOut("the diagram is of the test split")
        folder = found.images.get("abc_images") if entry.abc_label else found.images["images"]
        if folder is None:
            raise LeftOut("it asks for letters in the diagram, and there is no folder abc_images with such pictures")
        letter = choice_letter(entry.correct_answer, len(entry.answer_texts))
        ask = partial(choice_question, choices=entry.answer_texts)
        return [question_record(entry.question_id, f"{folder}/{diagram.image_name}", str(question), letter, ask)]

    return convert_each(path, diagram.questions.items(), DiagramQuestion, parse, notes)
