"""The tiny LIRA on multiple choice about scenes, laid out as ScienceQA, with and without an image."""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_tiny import *

work_dir = f"{eval_root}/scienceqa"
test_dataloader.dataset.datasets = [scienceqa]
test_evaluator[0].update(rule="scienceqa", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="scienceqa")
