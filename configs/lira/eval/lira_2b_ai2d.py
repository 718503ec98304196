"""LIRA-2B on AI2D (test): multiple choice about diagrams."""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_2b import *

work_dir = f"{eval_root}/ai2d"
test_dataloader.dataset.datasets = [ai2d]
test_evaluator[0].update(rule="choice", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="choice")
