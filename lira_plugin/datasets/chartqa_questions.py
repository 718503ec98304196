"""ChartQA: questions about charts, written by people (``test_human.json``) and made (``test_augmented.json``)."""

import os
from collections.abc import Mapping
from typing import Any

from lira_plugin.datasets.annotation_files import read_list
from lira_plugin.datasets.answer_dataset import AnswerDataset, listed
from lira_plugin.datasets.entries import Entry, FileName, NotBlank, to_entry
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.registry import DATASETS
from lira_plugin.structures import AnswerTruth, ExifRule, Record


class ChartEntry(Entry):
    """A question about a chart. It has no id."""

    imgname: FileName
    query: str
    label: NotBlank


@DATASETS.register_module()
class ChartQADataset(AnswerDataset):
    """Questions about charts whose answers are a number or a word, as ChartQA publishes them.

    Records are called ``<category>/<position>``, by their position in the file, from 0.

    Args:
        ann_files: path by category: ``human``, ``augmented``.
        image_root: folder of the charts (``png``).
        source, prompt, pipeline, first, on_bad_record, exif: see :class:`~lira_plugin.datasets.AnswerDataset`.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: there is no category, a file is not of this form, or, with ``on_bad_record='raise'``, records are not. All
            are named at once.
    """

    def __init__(
        self,
        ann_files: Mapping[str, str],
        image_root: str,
        source: str = "chartqa",
        prompt: str = "short",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, prompt, pipeline, first, on_bad_record, exif)

        def parse(category: str, name: str, value: Any) -> Record:
            entry = to_entry(value, ChartEntry)
            truth = AnswerTruth(label=entry.label, category=category, question=entry.query)
            image = os.path.join(image_root, entry.imgname)
            return self.ask(f"{category}/{name}", image, entry.query, truth, entry.label)

        self.read_categories(ann_files, lambda path: listed(read_list(path, "a file of ChartQA's")), parse)
