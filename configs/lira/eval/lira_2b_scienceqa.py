"""LIRA-2B on ScienceQA (test): the questions with an image."""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_2b import *

work_dir = f"{eval_root}/scienceqa"
model.generation.update(max_new_tokens=100)
test_dataloader.dataset.pipeline.tile.update(min_tiles=1, max_tiles=6)
test_dataloader.dataset.datasets = [scienceqa]
test_evaluator[0].update(rule="scienceqa", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="scienceqa")
