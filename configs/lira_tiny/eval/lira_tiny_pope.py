"""The tiny LIRA on POPE's questions about scenes: random, popular and adversarial absent objects."""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_tiny import *

work_dir = f"{eval_root}/pope"
test_dataloader.dataset.datasets = [pope]
test_evaluator[0].update(rule="pope", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="pope")
