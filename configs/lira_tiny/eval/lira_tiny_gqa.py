"""The tiny LIRA on questions about scenes, laid out as GQA."""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_tiny import *

work_dir = f"{eval_root}/gqa"
test_dataloader.dataset.datasets = [gqa]
test_evaluator[0].update(rule="gqa", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="gqa")
