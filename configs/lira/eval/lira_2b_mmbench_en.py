"""LIRA-2B on MMBench in English (dev): choices in circular turns."""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_2b import *

work_dir = f"{eval_root}/mmbench_en"
model.generation.update(max_new_tokens=100)
test_dataloader.dataset.datasets = [mmbench_en]
test_evaluator[0].update(rule="mmbench", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="mmbench")
