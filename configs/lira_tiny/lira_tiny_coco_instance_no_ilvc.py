"""The tiny LIRA learns to name every instance without ILVC, by the one prompt of ``lira_tiny_coco_instance.py`` that says so."""

from mmengine.config import read_base

with read_base():
    from .lira_tiny_coco_instance import *

work_dir = f"{root}/lira_coco_instance_no_ilvc"
model.generation.update(ilvc=False)
train_dataloader.dataset.pipeline.interleave.update(prob=0)
test_dataloader.dataset.datasets = [
    instances_val | dict(source="coco_instance/val/without_ilvc", suffix=two_prompts[1])
]
test_evaluator.update(out_file=f"{work_dir}/coco.json", results_dir=f"{work_dir}/results")
