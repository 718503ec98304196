"""VizWiz: questions of blind people about their photographs, some of which cannot be answered."""

import os
from pathlib import Path
from typing import Any, Literal

from lira_plugin.datasets.annotation_files import read_list
from lira_plugin.datasets.answer_dataset import AnswerDataset, listed
from lira_plugin.datasets.entries import Entry, FileName, to_entry
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.datasets.vqa_questions import PersonsAnswer, scored_answers
from lira_plugin.registry import DATASETS
from lira_plugin.structures import ExifRule, Record


class VizWizQuestion(Entry):
    """A question of VizWiz'; ``answerable`` says whether most people could answer it."""

    image: FileName
    question: str
    answers: list[PersonsAnswer]
    answerable: Literal[0, 1]


@DATASETS.register_module()
class VizWizDataset(AnswerDataset):
    """Questions about photographs with the answers of ten people, as VizWiz publishes them (``val.json``).

    A record is called as its image, which has one question. Where ten people say that it cannot be answered, each in words of
    their own ("unanswerable", "unsuitable"), these are answers like all others: the official score counts them as they are.

    Args:
        ann_file: the JSON file.
        image_root: folder of the images.
        source, prompt, pipeline, first, on_bad_record, exif: see :class:`~lira_plugin.datasets.AnswerDataset`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not of this form, or, with ``on_bad_record='raise'``, records are not. All are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        source: str = "vizwiz",
        prompt: str = "unanswerable",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, prompt, pipeline, first, on_bad_record, exif)
        self.protocol["files"] = [ann_file]

        def parse(name: str, value: Any) -> Record:
            entry = to_entry(value, VizWizQuestion)
            truth, answer = scored_answers([each.answer for each in entry.answers])
            image = os.path.join(image_root, entry.image)
            answer = answer if entry.answerable else "unanswerable"
            return self.ask(Path(entry.image).stem, image, entry.question, truth, answer)

        self.read(ann_file, listed(read_list(ann_file, "VizWiz' file"), "image"), parse)
        self.finish(ann_file)
