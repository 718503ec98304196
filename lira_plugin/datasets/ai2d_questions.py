"""AI2D: multiple-choice questions about diagrams, a file for each diagram, and the ids of those for testing."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from lira_plugin.datasets.annotation_files import read_annotations
from lira_plugin.datasets.choice_dataset import ChoiceDataset, choice_truth
from lira_plugin.datasets.entries import Entry, to_entry
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.json_file import read_text
from lira_plugin.registry import DATASETS
from lira_plugin.structures import ExifRule, Record, shown


class DiagramEntry(Entry):
    """A question; ``answer`` counts from 0. ``letters``: the choices name letters that replace the diagram's labels."""

    record_id: str = msgspec.field(name="questionId")
    letters: bool = msgspec.field(name="abcLabel")
    choices: list[str] = msgspec.field(name="answerTexts")
    answer: int = msgspec.field(name="correctAnswer")


@DATASETS.register_module()
class Ai2dDataset(ChoiceDataset):
    """Questions about the test diagrams of AI2D, as it publishes them: ``questions/<diagram>.png.json``.

    Args:
        ann_root: folder of the files of questions.
        ids: ``ai2d_test_ids.csv``, a line for the id of each diagram that is asked about.
        image_root: folder of the diagrams.
        letter_root: folder of the diagrams whose labels are replaced by letters (``abc_images``), for questions about these.
        source, ask_as, pipeline, first, on_bad_record, exif: see :class:`~lira_plugin.datasets.ChoiceDataset`; ``first``
            counts questions of all diagrams together, in the order of the ids.

    Raises:
        FileNotFoundError: a folder, the file of ids, or that of a diagram is not there.
        ValueError: with ``on_bad_record='raise'``, questions are not of this form. All are named at once.
    """

    def __init__(
        self,
        ann_root: str,
        ids: str,
        image_root: str,
        letter_root: str,
        source: str = "ai2d",
        ask_as: str = "choices",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, ask_as, pipeline, first, on_bad_record, exif)
        self.protocol["files"] = [ids]

        def parse(name: str, value: tuple[str, str, Any] | BadRecord) -> Record:
            if isinstance(value, BadRecord):
                raise value
            diagram, question, content = value
            entry = to_entry(content, DiagramEntry)
            truth = choice_truth(question, entry.choices, entry.answer)
            image = os.path.join(letter_root if entry.letters else image_root, diagram)
            return self.ask_choice(entry.record_id, image, truth)

        self.read(ann_root, _questions(Path(ann_root), ids), parse)
        self.finish(ann_root)


def _questions(folder: Path, ids: str) -> Iterator[tuple[str, tuple[str, str, Any] | BadRecord]]:
    """Each question as the name of its diagram, its text and its content; a file that is none is a fault."""
    for line in filter(None, map(str.strip, read_text(ids).splitlines())):
        diagram = f"{line.removesuffix('.png')}.png"
        content = read_annotations(folder / f"{diagram}.json")
        questions = content.get("questions") if isinstance(content, dict) else None
        if not isinstance(questions, dict):
            message = "the file of a diagram must hold an object 'questions'"
            yield diagram, BadRecord(message, f"{diagram}.json holds {shown(content)}")
            continue
        for text, value in questions.items():
            yield f"{diagram}: {text}", (diagram, text, value)
