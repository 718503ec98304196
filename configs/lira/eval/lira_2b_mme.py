"""LIRA-2B on MME: yes or no, two questions about each image, in fourteen categories."""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_2b import *

work_dir = f"{eval_root}/mme"
model.generation.update(max_new_tokens=20)
test_dataloader.dataset.pipeline.tile.update(min_tiles=4, max_tiles=12)
test_dataloader.dataset.datasets = [mme]
test_evaluator[0].update(rule="mme", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="mme")
