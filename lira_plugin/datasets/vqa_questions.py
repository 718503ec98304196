"""VQAv2 and OK-VQA: a file of questions, and one of the answers of ten people."""

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from lira_plugin.datasets.annotation_files import read_annotations
from lira_plugin.datasets.answer_dataset import AnswerDataset, listed
from lira_plugin.datasets.entries import Entry, check_text, to_entry
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.registry import DATASETS
from lira_plugin.structures import AnswerTruth, ExifRule, FaultKind, Record, shown


class PersonsAnswer(msgspec.Struct):
    """What one person answered; ``answer_confidence`` is not used."""

    answer: str


class VqaQuestion(Entry):
    """A question of VQA's."""

    question_id: int
    image_id: int
    question: str


class VqaAnnotation(Entry):
    """The answers to a question of VQA's; OK-VQA has no ``multiple_choice_answer``."""

    question_id: int
    image_id: int
    answers: list[PersonsAnswer]
    multiple_choice_answer: str | None = None


@DATASETS.register_module()
class VqaDataset(AnswerDataset):
    """Questions about COCO images with the answers of ten people, as VQAv2 and OK-VQA publish them.

    Args:
        questions: JSON file with ``questions`` and ``data_subtype``.
        annotations: JSON file with ``annotations``, the answers to these questions.
        image_root: folder of the images.
        image_name: how a file is called, such as ``{image_id}.jpg``; by default ``COCO_<subtype>_<id, 12 digits>.jpg``.
        source, prompt, pipeline, first, on_bad_record, exif: see :class:`~lira_plugin.datasets.AnswerDataset`.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: the files are not of this form, are of two splits, or, with ``on_bad_record='raise'``, records cannot be
            used: a question has no annotation, or one about another image. All are named at once.
    """

    def __init__(
        self,
        questions: str,
        annotations: str,
        image_root: str,
        image_name: str | None = None,
        source: str = "vqa",
        prompt: str = "short",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, prompt, pipeline, first, on_bad_record, exif)
        self.protocol["files"] = [questions, annotations]
        asked, subtype = read_section(questions, "questions")
        answered, other = read_section(annotations, "annotations")
        if subtype != other:
            raise ValueError(
                f"{questions} is of {subtype!r} and {annotations} of {other!r} ('data_subtype'): give files of one split"
            )
        if image_name is None and subtype is None:
            raise ValueError(f"{questions} has no 'data_subtype', by which its images are called: set image_name")
        answers = answers_by_question(answered)
        if image_name is not None and "{image_id" not in image_name:
            raise ValueError(f"image_name must hold {{image_id}}, as in '{{image_id}}.jpg', got {image_name!r}")
        image_name = image_name or f"COCO_{subtype.replace('-dev', '')}_{{image_id:012}}.jpg"

        def parse(name: str, value: Any) -> Record:
            entry = to_entry(value, VqaQuestion)
            given = sound_answers(answers, entry.question_id, annotations)
            if given.image_id != entry.image_id:
                raise BadRecord(
                    f"its annotation in {annotations} is about another image: the two files do not belong together",
                    f"{entry.image_id} here, {given.image_id} there",
                    FaultKind.UNKNOWN_ID,
                )
            image = os.path.join(image_root, image_name.format(image_id=entry.image_id))
            return self.ask(name, image, entry.question, *scored_answers([each.answer for each in given.answers]))

        self.read(questions, listed(asked, "question_id"), parse)
        self.finish(questions)


def answers_by_question(annotations: Sequence[Any], kind: type[Entry] = VqaAnnotation) -> dict[int, Any]:
    """Annotations by the id of their question, or the :class:`BadRecord` that says what is wrong with them."""
    found: dict[int, Any] = {}
    for value in annotations:
        question_id = value.get("question_id") if isinstance(value, dict) else None
        try:
            found[question_id] = (
                BadRecord("it has two annotations", shown(question_id), FaultKind.DUPLICATE_ID)
                if question_id in found
                else to_entry(value, kind)
            )
        except BadRecord as error:
            if isinstance(question_id, int):
                found[question_id] = error
    return found


def sound_answers(answers: dict[int, Any], question_id: int, path: str) -> Any:
    """The annotation of a question.

    Raises:
        BadRecord: there is none, or it is not sound.
    """
    found = answers.get(question_id)
    if found is None:
        raise BadRecord(f"it has no annotation in {path}", f"question {question_id!r}", FaultKind.UNKNOWN_ID)
    if isinstance(found, BadRecord):
        raise BadRecord(f"its annotation in {path} cannot be used", str(found), found.kind)
    return found


def scored_answers(answers: Sequence[str]) -> tuple[AnswerTruth, str]:
    """What an answer is scored by, and the answer that most people gave.

    Raises:
        BadRecord: nobody gave one, or an answer is no Unicode.
    """
    if not answers:
        raise BadRecord("it has no answers", "got []", FaultKind.EMPTY_TEXT)
    for answer in answers:
        try:
            check_text("answer", answer)
        except ValueError as error:
            raise BadRecord(str(error)) from None
    return AnswerTruth(answers=tuple(answers)), most_frequent(answers)


def most_frequent(answers: Sequence[str]) -> str:
    """The most frequent answer that is not blank; of equally frequent ones, that which comes first. Empty if all are blank."""
    counts = Counter(text for answer in answers if (text := answer.strip()))
    return max(counts, key=counts.__getitem__, default="")  # of equal ones the first, as a Counter keeps its order


def read_section(path: str, key: str) -> tuple[list[Any], str | None]:
    """The list under a key of one of VQA's files, and its ``data_subtype``, where it says it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not of this form.
    """
    content = read_annotations(path)
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        raise ValueError(f"{path} is not VQA's file of {key}: it must hold a list {key!r}, got {shown(content)}")
    subtype = content.get("data_subtype")
    if subtype is not None and not isinstance(subtype, str):
        raise ValueError(f"{path}: 'data_subtype' must name the images' split, such as 'val2014', got {shown(subtype)}")
    return content[key], subtype
