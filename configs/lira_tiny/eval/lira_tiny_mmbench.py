"""The tiny LIRA on multiple choice about scenes in circular turns, laid out as MMBench."""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_tiny import *

work_dir = f"{eval_root}/mmbench"
test_dataloader.dataset.datasets = [mmbench]
test_evaluator[0].update(rule="mmbench", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="mmbench")
