"""LIRA-2B that also learns and is tested on gRefCOCO: sentences that name one thing, several, or nothing.

Figures are with and without the rule that a mask of fewer than 50 pixels says "nothing", and with calibrated presence.
"""

from mmengine.config import read_base

from lira_plugin.evaluation import DumpAnswers

with read_base():
    from .lira_2b import *

work_dir = f"{root}/2b_grefcoco"
generalized = refer | dict(dataset="grefcoco")
train_dataloader.dataset.datasets.append(generalized | dict(split="train", num_expressions=3, repeats=3))
test_dataloader.dataset.datasets = [generalized | dict(split=split) for split in ("val", "testA", "testB")]
test_evaluator.update(spans="union", min_pixels=[0, 50], presence=True, out_file=f"{work_dir}/grefcoco.json")
test_evaluator = [
    test_evaluator,
    dict(type=DumpAnswers, out_file=f"{work_dir}/answers.jsonl", prefix="answers"),
]
