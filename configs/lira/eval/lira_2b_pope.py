"""LIRA-2B on POPE: does an image show an object, of three ways to draw those that it does not."""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_2b import *

work_dir = f"{eval_root}/pope"
model.generation.update(max_new_tokens=100)
test_dataloader.dataset.pipeline.tile.update(min_tiles=4, max_tiles=8)
test_dataloader.dataset.datasets = [pope]
test_evaluator[0].update(rule="pope", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="pope")
