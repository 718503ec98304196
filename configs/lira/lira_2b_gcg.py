"""LIRA-2B describes the val and test images of GranDf with grounded captions, scored as GLaMM does: for ``xtuner test``.

The scores of captions need the extra ``caption``, and Recall the language model ``bert-base-uncased``. Both are tried before
the first image is answered. Without them: ``test_evaluator.0.captions=False`` and ``test_evaluator.0.similarity=exact``. An
answer has up to 512 tokens, as GLaMM's, and an image has 1 to 6 tiles, as in LIRA's script.
"""

from mmengine.config import read_base

from lira_plugin.datasets import GCGTestDataset
from lira_plugin.evaluation import DumpAnswers, GCGMetric
from lira_plugin.hooks import EvaluationSettingsHook, RetryTestLoop

with read_base():
    from .lira_2b_released import *

work_dir = f"{root}/2b_gcg"
caption_root = f"{glamm}/annotations/gcg_val_test"
model.generation.update(max_new_tokens=512)
test_dataloader.dataset.update(
    datasets=[
        dict(type=GCGTestDataset, ann_root=caption_root, split=split, image_root=f"{glamm}/images/grandf/val_test")
        for split in ("val", "test")
    ],
    pipeline=prompt_pipeline,
)
test_evaluator = [
    dict(type=GCGMetric, ann_root=caption_root, similarity="bert", captions=True, out_file=f"{work_dir}/gcg.json"),
    dict(type=DumpAnswers, out_file=f"{work_dir}/answers.jsonl", prefix="answers"),
]
test_cfg.update(type=RetryTestLoop)
custom_hooks.append(dict(type=EvaluationSettingsHook))
