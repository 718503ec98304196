"""Questions about images, to be asked of a trained model: from a JSON Lines file, or from a data set with its ground truth."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lira_plugin.datasets.entries import to_entry
from lira_plugin.datasets.findings import BadRecord, BadRecords, Finding
from lira_plugin.datasets.grounding_dataset import GroundingDataset
from lira_plugin.datasets.image_file import is_address
from lira_plugin.datasets.json_records import parse_record
from lira_plugin.datasets.line_entries import QuestionLine
from lira_plugin.json_file import read_text
from lira_plugin.structures import FaultKind, Record, Region


@dataclass(frozen=True)
class ImageQuestion:
    """A question about an image.

    Args:
        image: path of the image.
        question: what to ask.
        task: what kind of question it is, such as ``RefSeg``; for pictures and grouping.
        regions: ground truth, where it is known.
    """

    image: str
    question: str
    task: str = ""
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True)
class ScannedQuestions:
    """What a file of questions holds.

    Args:
        questions: the sound ones whose image is there, with the index of their line, from 1.
        bad: lines that are not of the form.
        missing: lines whose image is not there.
    """

    questions: list[tuple[int, ImageQuestion]]
    bad: list[Finding]
    missing: list[Finding]


def scan_questions(path: str | Path, allow_urls: bool = False) -> ScannedQuestions:
    """Read a file of questions to its end, whatever is wrong with its lines.

    Args:
        path: of the file.
        allow_urls: whether an image may be an address, which is not looked at here.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no text, or holds no line.
    """
    path = Path(path)
    questions, bad, missing = [], [], []
    for index, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"line {index}"
        try:
            item = to_entry(parse_record(line), QuestionLine)
        except BadRecord as error:
            bad.append(Finding(error.kind, str(path), where, f"{path}, {where}: {error}"))
            continue
        is_url = is_address(item.image)
        image = item.image if is_url else str(path.parent / item.image)
        if (is_url and allow_urls) or os.path.isfile(image):  # false, and no error, for a name that no file can have
            questions.append((index, ImageQuestion(image, item.question, item.task)))
        else:
            advice = ", an address: allow_urls=True of the inferencer lets it be fetched" if is_url else ""
            message = f"{path}, {where}: there is no image {image}{advice}"
            missing.append(Finding(FaultKind.MISSING_IMAGE, str(path), where, message))
    if not (questions or bad or missing):
        raise ValueError(f'{path} holds no question; a line is {{"image": "a.jpg", "question": "What is this?"}}')
    return ScannedQuestions(questions, bad, missing)


def read_questions(path: str | Path, allow_urls: bool = False) -> list[ImageQuestion]:
    """Read a JSON Lines file: one ``{"image": "a.jpg", "question": "...", "task": "RefSeg"}`` a line.

    ``task`` may be left out, and blank lines are. The path of an image is relative to the file's folder.

    Args:
        path: of the file.
        allow_urls: whether an image may be an http(s) address.

    Raises:
        FileNotFoundError: there is no such file, or images are not there; the message names all of them.
        ValueError: lines are not of this form (all are named), there is none, or the file is no text.
    """
    found = scan_questions(path, allow_urls)
    if found.bad:
        raise BadRecords(found.bad, 'A line is {"image": "a.jpg", "question": "What is this?"}, and "task" if wanted')
    if found.missing:
        lines = "\n".join(finding.message for finding in found.missing)
        raise FileNotFoundError(f"{lines}\nThe path of an image is relative to the folder of the questions")
    return [question for _, question in found.questions]


def question_of(record: Record, task: str = "") -> ImageQuestion:
    """The last question of a record, with its ground truth."""
    return ImageQuestion(record.image_path, record.conversation.turns[-1].question, task, record.regions)


def drawn_questions(dataset: GroundingDataset, count: int, seed: int = 0) -> list[ImageQuestion]:
    """Draw questions from a data set, in its order: of every image one before any has two, so far as ``count`` allows.

    Records without an image are passed over.
    """
    rng = np.random.default_rng(seed)
    asked: dict[str, int] = {}
    ranked = []
    for index in rng.permutation(len(dataset)):
        record = dataset.get_record(int(index), rng)
        if record.image_path is not None:
            turn = asked.get(record.image_path, 0)
            asked[record.image_path] = turn + 1
            ranked.append((turn, len(ranked), int(index), record))
    ranked = sorted(sorted(ranked, key=lambda entry: entry[:2])[:count], key=lambda entry: entry[2])
    return [question_of(record, record.source) for *_, record in ranked]
