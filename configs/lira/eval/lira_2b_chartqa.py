"""LIRA-2B on ChartQA (test): numbers and words from charts.

LIRA has no script for it: tiles and token limit are those of InternVL2's evaluation.
"""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_2b import *

work_dir = f"{eval_root}/chartqa"
model.generation.update(max_new_tokens=100)
test_dataloader.dataset.pipeline.tile.update(min_tiles=1, max_tiles=12)
test_dataloader.dataset.datasets = [chartqa]
test_evaluator[0].update(rule="relaxed", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="relaxed")
