"""POPE: "Is there a dog in the image?", a JSON Lines file for each way of drawing objects that are not there."""

import os
from collections.abc import Mapping
from typing import Any

from lira_plugin.datasets.answer_dataset import AnswerDataset
from lira_plugin.datasets.entries import Entry, FileName, Id, to_entry
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.datasets.question_lines import read_lines
from lira_plugin.registry import DATASETS
from lira_plugin.structures import AnswerTruth, ExifRule, Record


class PopeLine(Entry):
    """A question of POPE's."""

    question_id: Id
    image: FileName
    text: str
    label: str


@DATASETS.register_module()
class PopeDataset(AnswerDataset):
    """Yes-or-no questions about objects that are in an image, or not, as POPE publishes them (``coco_pope_random.json``).

    POPE's files are JSON Lines, whatever their names end in. Each counts its questions from 1, so records are called
    ``<category>/<question_id>``.

    Args:
        ann_files: path by category: ``random``, ``popular``, ``adversarial``.
        image_root: folder of the images.
        source, prompt, pipeline, first, on_bad_record, exif: see :class:`~lira_plugin.datasets.AnswerDataset`.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: there is no category, or, with ``on_bad_record='raise'``, lines are not of this form. All are named at once.
    """

    def __init__(
        self,
        ann_files: Mapping[str, str],
        image_root: str,
        source: str = "pope",
        prompt: str = "plain",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, prompt, pipeline, first, on_bad_record, exif)

        def parse(category: str, name: str, value: Any) -> Record:
            entry = to_entry(value, PopeLine)
            if entry.label not in ("yes", "no"):
                raise BadRecord("'label' must be 'yes' or 'no'", f"got {entry.label!r}")
            truth = AnswerTruth(label=entry.label, category=category, question=entry.text)
            image = os.path.join(image_root, entry.image)
            return self.ask(f"{category}/{entry.question_id}", image, entry.text, truth, entry.label)

        self.read_categories(ann_files, lambda path: read_lines(path, "question_id"), parse)
