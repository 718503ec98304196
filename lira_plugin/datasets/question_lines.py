"""Questions in JSON Lines, as InternVL's evaluation converts the official files of many suites."""

import os
from typing import Any

import msgspec

from lira_plugin.datasets.answer_dataset import listed
from lira_plugin.datasets.choice_dataset import ChoiceDataset, choice_index, choice_truth
from lira_plugin.datasets.entries import Entry, FileName, Id, to_entry
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.datasets.json_records import parse_record
from lira_plugin.datasets.vqa_questions import (
    PersonsAnswer,
    answers_by_question,
    read_section,
    scored_answers,
    sound_answers,
)
from lira_plugin.json_file import read_text
from lira_plugin.registry import DATASETS
from lira_plugin.structures import AnswerTruth, ExifRule, FaultKind, Record
from lira_plugin.structures.question_prompts import build_prompt


class AskedLine(Entry):
    """A question; ``answer`` is a text, or, of one with ``choices``, an index from 0 or a letter; ``context`` is its "hint"."""

    question: str
    image: FileName | None = None
    question_id: Id | None = None
    answer: str | int | None = None
    choices: list[str] = []
    context: str = msgspec.field(name="hint", default="")
    category: str = ""


class LineAnnotation(Entry):
    """The answers of ten people to a question of a line."""

    question_id: Id
    answers: list[PersonsAnswer]


@DATASETS.register_module()
class QuestionLinesDataset(ChoiceDataset):
    """Questions with short answers or choices, one JSON object a line, as InternVL's evaluation has them.

    A line is ``{"image": "a.jpg", "question": "...", "question_id": 1, "answer": "net"}``. With ``choices``, ``answer`` is the
    index of the right one, from 0, or its letter; ``hint`` comes before the question. ``category`` gets figures of its own.
    Blank lines are passed over. A line without ``question_id`` is named by its position.

    Args:
        ann_file: the JSON Lines file.
        image_root: folder that ``image`` is relative to.
        annotations: JSON file with the answers of ten people to the questions, as VQA's, by which they are scored.
        prompt: how questions without choices are asked, see :func:`~lira_plugin.structures.question_prompts.build_prompt`.
        source, pipeline, first, on_bad_record, exif: see :class:`~lira_plugin.datasets.AnswerDataset`.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: nothing can be used, or, with ``on_bad_record='raise'``, lines are not of this form. All are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        annotations: str | None = None,
        source: str = "lines",
        prompt: str = "short",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, pipeline=pipeline, first=first, on_bad_record=on_bad_record, exif=exif)
        words = build_prompt(prompt)
        self.protocol |= {"files": [ann_file] + [annotations] * bool(annotations), "prompt": words("{question}")}
        answers = None
        if annotations is not None:
            answers = answers_by_question(read_section(annotations, "annotations")[0], LineAnnotation)

        def parse(name: str, value: Any) -> Record:
            entry = to_entry(value, AskedLine)
            image = None if entry.image is None else os.path.join(image_root, entry.image)
            if entry.choices:
                truth = choice_truth(entry.question, entry.choices, choice_index(entry.answer), entry.category)
                return self.ask_choice(name, image, truth, entry.context)
            if answers is not None:
                given = sound_answers(answers, entry.question_id, annotations)
                truth, answer = scored_answers([each.answer for each in given.answers])
            else:
                answer = "" if entry.answer is None else str(entry.answer)
                truth = AnswerTruth(label=answer, category=entry.category, question=entry.question)
            if not entry.question.strip():
                raise BadRecord("the question is blank", repr(entry.question), FaultKind.EMPTY_TEXT)
            return self.ask(name, image, words(entry.question.strip()), truth, answer)

        self.read(ann_file, read_lines(ann_file, "question_id"), parse)
        self.finish(ann_file)


def read_lines(path: str, *keys: str) -> list[tuple[str, Any]]:
    """The objects of a JSON Lines file, each with the first of its ``keys`` that is an id, else the index of its line, from 0.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no text.
    """
    lines = (parse_record(line) if line.strip() else None for line in read_text(path).split("\n"))
    return [(name, value) for name, value in listed(lines, *keys) if value is not None]
