"""The tiny LIRA describes unseen scenes with grounded captions, scored as GLaMM does on GranDf: for ``xtuner test``.

METEOR and CIDEr need the extra ``caption`` and come with ``test_evaluator.0.captions=True``. The answers are in ``answers.jsonl``
of the work dir, which ``tools/score.py gcg`` reads.
"""

from mmengine.config import read_base

from lira_plugin.datasets import GCGTestDataset
from lira_plugin.evaluation import DumpAnswers, GCGMetric
from lira_plugin.hooks import EvaluationSettingsHook, RetryTestLoop

with read_base():
    from .lira_tiny import *

work_dir = f"{root}/lira_gcg"
caption_root = f"{data_root}/gcg"
test_dataloader.dataset.datasets = [
    dict(type=GCGTestDataset, ann_root=caption_root, split=split, image_root=image_root) for split in ("val", "test")
]
test_evaluator = [
    dict(type=GCGMetric, ann_root=caption_root, out_file=f"{work_dir}/gcg.json"),
    dict(type=DumpAnswers, out_file=f"{work_dir}/answers.jsonl", prefix="answers"),
]
test_cfg.update(type=RetryTestLoop)
custom_hooks.append(dict(type=EvaluationSettingsHook))
