"""The same detector looks for the phrases of unseen grounded captions, scored by GCGMetric: for ``xtuner test``.

The phrases are given, so this is phrase grounding: METEOR and CIDEr would score what the annotators wrote.
"""

from mmengine.config import read_base

from lira_plugin.datasets import GCGTestDataset
from lira_plugin.evaluation import GCGMetric

with read_base():
    from .refseg_tiny import *

work_dir = f"{root}/refseg_gcg"
caption_root = f"{data_root}/gcg"
test_dataloader.dataset.datasets = [
    dict(type=GCGTestDataset, ann_root=caption_root, split=split, image_root=image_root) for split in ("val", "test")
]
test_evaluator = dict(type=GCGMetric, ann_root=caption_root, out_file=f"{work_dir}/gcg.json")
