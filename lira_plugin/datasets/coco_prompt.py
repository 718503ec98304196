"""Instance segmentation as a question, as PSALM builds it: every category in the prompt, every instance in the answer."""

from dataclasses import replace

import numpy as np

from lira_plugin.datasets.coco_instance import CocoInstanceDataset
from lira_plugin.registry import DATASETS
from lira_plugin.structures import Conversation, Record, instances_turn


@DATASETS.register_module()
class CocoPromptDataset(CocoInstanceDataset):
    """One record an image: all category names are in the question, and each instance is a phrase of the answer.

    The instances stand in the order of their categories in the question, those of one category in file order. An image without
    an instance is kept, and answered with a sentence that says so. Arguments and errors are those of
    :class:`~lira_plugin.datasets.coco_instance.CocoInstanceDataset`. To train with and without ILVC by two prompts, set ``prob``
    and ``suffixes`` of the transform ``ILVC``.
    """

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record of the image at ``index``; nothing is random."""
        record = super().get_record(index, rng)
        regions = tuple(sorted(record.regions, key=lambda region: region.category_id))
        turn = instances_turn(self.classes, [region.phrase for region in regions])
        return replace(record, conversation=Conversation((turn,)), regions=regions)
