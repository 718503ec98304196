"""Instance segmentation as a question, as PSALM builds it: every category in the prompt, every instance in the answer."""

from dataclasses import replace

import numpy as np

from lira_plugin.datasets.coco_instance import CocoInstanceDataset
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.registry import DATASETS
from lira_plugin.structures import Conversation, ExifRule, Record, instances_turn


@DATASETS.register_module()
class CocoPromptDataset(CocoInstanceDataset):
    """One record an image: all category names are in the question, and each instance is a phrase of the answer.

    The instances stand in the order of their categories in the question, those of one category in file order. An image without
    an instance is kept, and answered with a sentence that says so. To train with and without ILVC by two prompts, set ``prob``
    and ``suffixes`` of the transform ``ILVC``. To test one of the prompts, set ``suffix``: a test may hold the data twice, with
    either prompt and a ``source`` for each.

    Args:
        ann_file: COCO instances file.
        image_root: folder that ``file_name`` is relative to.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        source: name of the data set and split; metrics group by it.
        suffix: put behind the question.
        seed: of the data set; nothing is random but in the pipeline.
        filter_empty: leave images without a region out (counted and logged).
        on_bad_record: ``raise``, or ``skip`` to leave images out of which an entry is bad.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        ValueError: as :class:`~lira_plugin.datasets.coco_instance.CocoInstanceDataset`.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        pipeline: Pipeline | None = None,
        source: str = "coco_instance",
        suffix: str = "",
        seed: int = 0,
        filter_empty: bool = False,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(ann_file, image_root, pipeline, source, seed, filter_empty, on_bad_record, exif)
        self.suffix = suffix
        self.protocol["suffix"] = suffix

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record of the image at ``index``; nothing is random."""
        record = super().get_record(index, rng)
        regions = tuple(sorted(record.regions, key=lambda region: region.category_id))
        turn = instances_turn(self.classes, [region.phrase for region in regions])
        asked = replace(turn, question=turn.question + self.suffix)
        return replace(record, conversation=Conversation((asked,)), regions=regions)
