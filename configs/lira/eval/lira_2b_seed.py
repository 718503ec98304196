"""LIRA-2B on SEED-Bench: multiple choice about images, by type."""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_2b import *

work_dir = f"{eval_root}/seed"
model.generation.update(max_new_tokens=100)
test_dataloader.dataset.datasets = [seed_image]
test_evaluator[0].update(rule="seed", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="seed")
