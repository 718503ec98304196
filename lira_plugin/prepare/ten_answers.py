"""Questions with the answers of ten people: VQAv2 and OK-VQA (a file each for questions and answers), TextVQA, VizWiz."""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec

from lira_plugin.datasets.textvqa_questions import TextVqaQuestion
from lira_plugin.datasets.vizwiz_questions import VizWizQuestion
from lira_plugin.datasets.vqa_questions import VqaAnnotation, VqaQuestion, most_frequent
from lira_plugin.prepare.official_entries import (
    BadOfficialRecord,
    ConversionNotes,
    FoundFiles,
    Id,
    LeftOut,
    Record,
    convert_each,
    explain,
    question_record,
    read_official,
)
from lira_plugin.structures.question_prompts import short_answer_question


class VqaQuestions(msgspec.Struct):
    """VQA's file of questions."""

    questions: list[msgspec.Raw]
    data_subtype: str


class VqaAnnotations(msgspec.Struct):
    """VQA's file of answers."""

    annotations: list[msgspec.Raw]
    data_subtype: str


class TextVqaFile(msgspec.Struct):
    """TextVQA's file of a split."""

    dataset_type: str
    data: list[msgspec.Raw]


def majority(answers: Sequence[str]) -> str:
    """The most frequent answer that is not blank; of equally frequent ones, that which comes first.

    Raises:
        LeftOut: all are blank.
    """
    answer = most_frequent(answers)
    if not answer:
        raise LeftOut("the answer is blank")
    return answer


def convert_vqa(found: FoundFiles, notes: ConversionNotes) -> Iterator[Record]:
    """VQAv2 and OK-VQA. The answer is ``multiple_choice_answer``, the most frequent one, or, without it, the majority.

    Raises:
        ValueError: a file is not of its format, or not of the training split.
    """
    questions, annotations = found.one("questions"), found.one("annotations")
    answers = dict(_annotations(annotations, notes))
    content = read_official(questions, VqaQuestions)
    _of_train(questions, "data_subtype", content.data_subtype, "train2014")

    def parse(position: Id, entry: VqaQuestion) -> list[Record]:
        if entry.question_id not in answers:
            raise BadOfficialRecord(f"question {entry.question_id} has no sound annotation in {annotations}")
        image_id, answer = answers[entry.question_id]
        if image_id != entry.image_id:
            raise BadOfficialRecord(
                f"question {entry.question_id} is about image {entry.image_id}, its annotation in {annotations} about "
                f"{image_id}: the two files do not belong together"
            )
        image = f"{found.images['images']}/COCO_train2014_{entry.image_id:012}.jpg"
        return [question_record(entry.question_id, image, entry.question, answer, short_answer_question)]

    return convert_each(questions, enumerate(content.questions), VqaQuestion, parse, notes)


def convert_textvqa(found: FoundFiles, notes: ConversionNotes) -> Iterator[Record]:
    """TextVQA, with the majority of the answers.

    Raises:
        ValueError: the file is not of its format, or not of the training split.
    """
    path = found.one("questions")
    content = read_official(path, TextVqaFile)
    _of_train(path, "dataset_type", content.dataset_type, "train")

    def parse(position: Id, entry: TextVqaQuestion) -> list[Record]:
        image = f"{found.images['images']}/{entry.image_id}.jpg"
        answer = majority(entry.answers)
        return [question_record(entry.question_id, image, entry.question, answer, short_answer_question)]

    return convert_each(path, enumerate(content.data), TextVqaQuestion, parse, notes)


def convert_vizwiz(found: FoundFiles, notes: ConversionNotes) -> Iterator[Record]:
    """VizWiz: its questions carry the instruction for those that cannot be answered.

    A question that is marked so is answered ``unanswerable``, whatever some people said, others by the majority.

    Raises:
        ValueError: the file is not of its format.
    """
    path = found.one("questions")

    def parse(position: Id, entry: VizWizQuestion) -> list[Record]:
        if not entry.image.startswith("VizWiz_train_"):
            raise LeftOut("the image is not of the training split")
        answer = majority([given.answer for given in entry.answers]) if entry.answerable else "unanswerable"
        image = f"{found.images['images']}/{entry.image}"
        ask = partial(short_answer_question, may_be_unanswerable=True)
        return [question_record(Path(entry.image).stem, image, entry.question, answer, ask)]

    return convert_each(path, enumerate(read_official(path, list[msgspec.Raw])), VizWizQuestion, parse, notes)


def _annotations(path: Path, notes: ConversionNotes) -> Iterator[tuple[int, tuple[int, str]]]:
    """Of each question its id, its image's, and its answer, which is empty if all of them are blank."""
    content = read_official(path, VqaAnnotations)
    _of_train(path, "data_subtype", content.data_subtype, "train2014")
    decoder = msgspec.json.Decoder(VqaAnnotation)
    for position, raw in enumerate(content.annotations):
        try:
            entry = decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            notes.bad.append(f"{path}: annotation {position}: {explain(error, raw, VqaAnnotation)}")
            continue
        answer = entry.multiple_choice_answer
        if answer is None:
            answer = most_frequent([given.answer for given in entry.answers])
        yield entry.question_id, (entry.image_id, sys.intern(answer))


def _of_train(path: Path, key: str, value: str, expected: str) -> None:
    if value != expected:
        raise ValueError(
            f"{path} is not of the training split: {key!r} is {value!r} and must be {expected!r}; put the file of the "
            "training split there"
        )
