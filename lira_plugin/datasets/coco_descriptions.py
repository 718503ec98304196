"""Images of a COCO file that are to be described, as CHAIR draws them."""

import os
from typing import Any

import numpy as np

from lira_plugin.datasets.annotation_files import read_annotations
from lira_plugin.datasets.answer_dataset import AnswerDataset, listed
from lira_plugin.datasets.entries import Entry, FileName, Id, to_entry
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.registry import DATASETS
from lira_plugin.structures import AnswerTruth, ExifRule, Record, shown


class DescribedImage(Entry):
    """An image of a COCO file, as far as a description needs it."""

    id: Id
    file_name: FileName


@DATASETS.register_module()
class CocoDescriptionDataset(AnswerDataset):
    """One request for a description an image; records are called by the ids of the images. There is no true answer.

    Args:
        ann_file: COCO file with ``images``, such as that of instances.
        image_root: folder that ``file_name`` is relative to.
        request: what is asked.
        count: images that are drawn, or all where there are fewer; None takes all, in the order of the file.
        seed: of the draw. With the same seed, ``tools/hallucination.py`` draws the same images of the same file.
        source, pipeline, on_bad_record, exif: see :class:`~lira_plugin.datasets.AnswerDataset`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: ``count`` is not positive, the file has no ``images``, or, with ``on_bad_record='raise'``, drawn ones are not
            of this form. All are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        request: str = "Provide an in-depth description of this image.",
        count: int | None = None,
        seed: int = 0,
        source: str = "coco/descriptions",
        pipeline: Pipeline | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, "plain", pipeline, None, on_bad_record, exif)
        if count is not None and count < 1:
            raise ValueError(f"{source}: count must be positive, or None for all images, got {count}")
        self.protocol |= {"files": [ann_file], "prompt": request, "count": count, "seed": seed}
        content = read_annotations(ann_file)
        if not isinstance(content, dict) or not isinstance(content.get("images"), list):
            raise ValueError(f"{ann_file} is no COCO file: it must hold a list 'images', got {shown(content)}")
        entries = list(listed(content["images"], "id"))
        if count is not None:
            entries = [entries[index] for index in np.random.default_rng(seed).permutation(len(entries))[:count]]

        def parse(name: str, value: Any) -> Record:
            entry = to_entry(value, DescribedImage)
            return self.ask(str(entry.id), os.path.join(image_root, entry.file_name), request, AnswerTruth())

        self.read(ann_file, entries, parse)
        self.finish(ann_file)
