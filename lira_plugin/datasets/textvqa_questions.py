"""TextVQA: questions with the answers of ten people, in one file a split."""

import os
from typing import Any

from lira_plugin.datasets.annotation_files import read_annotations
from lira_plugin.datasets.answer_dataset import AnswerDataset, listed
from lira_plugin.datasets.entries import Entry, FileName, to_entry
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.datasets.vqa_questions import scored_answers
from lira_plugin.registry import DATASETS
from lira_plugin.structures import ExifRule, Record, shown


class TextVqaQuestion(Entry):
    """A question of TextVQA's; OCR tokens are in other files and not used."""

    question_id: int
    image_id: FileName
    question: str
    answers: list[str]


@DATASETS.register_module()
class TextVqaDataset(AnswerDataset):
    """Questions about text in images with the answers of ten people, as TextVQA publishes them (``TextVQA_0.5.1_val.json``).

    Args:
        ann_file: the JSON file.
        image_root: folder of the images, ``<image_id>.jpg``.
        source, prompt, pipeline, first, on_bad_record, exif: see :class:`~lira_plugin.datasets.AnswerDataset`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not of this form, or, with ``on_bad_record='raise'``, records are not. All are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        source: str = "textvqa",
        prompt: str = "short",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, prompt, pipeline, first, on_bad_record, exif)
        self.protocol["files"] = [ann_file]
        content = read_annotations(ann_file)
        if not isinstance(content, dict) or not isinstance(content.get("data"), list):
            raise ValueError(f"{ann_file} is not TextVQA's file: it must hold a list 'data', got {shown(content)}")

        def parse(name: str, value: Any) -> Record:
            entry = to_entry(value, TextVqaQuestion)
            image = os.path.join(image_root, f"{entry.image_id}.jpg")
            return self.ask(name, image, entry.question, *scored_answers(entry.answers))

        self.read(ann_file, listed(content["data"], "question_id"), parse)
        self.finish(ann_file)
