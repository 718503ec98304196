"""GQA: questions by their ids, of which the balanced ones count."""

import os
from typing import Any

from lira_plugin.datasets.annotation_files import read_annotations
from lira_plugin.datasets.answer_dataset import AnswerDataset
from lira_plugin.datasets.entries import Entry, FileName, NotBlank, to_entry
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.registry import DATASETS
from lira_plugin.structures import AnswerTruth, ExifRule, Record, shown


class GqaQuestion(Entry, rename="camel"):
    """A question; ``full_answer`` and its program are not used."""

    image_id: FileName
    question: str
    answer: NotBlank
    is_balanced: bool


@DATASETS.register_module()
class GqaDataset(AnswerDataset):
    """The balanced questions of GQA with their short answers (``testdev_balanced_questions.json``).

    Args:
        ann_file: the JSON file, an object of questions by id.
        image_root: folder of the images, ``<imageId>.jpg``.
        source, prompt, pipeline, first, on_bad_record, exif: see :class:`~lira_plugin.datasets.AnswerDataset`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not of this form, or, with ``on_bad_record='raise'``, questions are not. All are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        source: str = "gqa",
        prompt: str = "short",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, prompt, pipeline, first, on_bad_record, exif)
        self.protocol["files"] = [ann_file]
        content = read_annotations(ann_file)
        if not isinstance(content, dict):
            raise ValueError(f"{ann_file} is not GQA's file: it must hold questions by id, got {shown(content)}")

        def parse(name: str, value: Any) -> Record | None:
            entry = to_entry(value, GqaQuestion)
            if not entry.is_balanced:
                return None
            image = os.path.join(image_root, f"{entry.image_id}.jpg")
            return self.ask(name, image, entry.question, AnswerTruth(label=entry.answer), entry.answer)

        self.read(ann_file, content.items(), parse)
        self.finish(ann_file)
