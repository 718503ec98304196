"""LIRA-2B on OK-VQA (val): questions that need knowledge from outside of the image."""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_2b import *

work_dir = f"{eval_root}/okvqa"
test_dataloader.dataset.datasets = [okvqa]
test_evaluator[0].update(rule="vqa", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="vqa")
