"""The tiny LIRA on questions about scenes with the answers of ten people, laid out as VQAv2."""

from mmengine.config import read_base

with read_base():
    from ._base_.answers_tiny import *

work_dir = f"{eval_root}/vqav2"
test_dataloader.dataset.datasets = [vqav2]
test_evaluator[0].update(rule="vqa", out_file=f"{work_dir}/scores.json", dump=f"{work_dir}/answers.jsonl")
test_evaluator[1].update(rule="vqa")
