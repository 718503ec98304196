"""The tiny LIRA names every instance of the categories in its prompt. It learns two prompts: half with ILVC, half without.

One ``xtuner test`` asks for the val scenes' instances both ways, and scores as PSALM's protocol has it: ``coco.json`` of the work
dir. The training goes on from ``lira_tiny.py`` and takes a third of that one's iterations.
"""

from mmengine.config import read_base

from lira_plugin.datasets import CocoPromptDataset
from lira_plugin.evaluation import CocoInstanceMetric
from lira_plugin.hooks import EvaluationSettingsHook

with read_base():
    from .lira_tiny import *

work_dir = f"{root}/lira_coco_instance"
made_by = "xtuner train configs/lira_tiny/lira_tiny.py"
model.init_from.append(dict(path=f"{root}/lira", may_lack=["semantic_encoder", "pixel_encoder"], made_by=made_by))
model.generation.update(max_new_tokens=128)
instances_train, instances_val = [
    dict(type=CocoPromptDataset, ann_file=f"{data_root}/coco/instances_{split}.json", image_root=image_root)
    for split in ("train", "val")
]
train_dataloader.dataset.datasets = [instances_train | dict(source="coco_instance/train")]
train_dataloader.dataset.pipeline.interleave.update(prob=0.5, suffixes=two_prompts)
train_dataloader.dataset.pipeline.tokenize.update(max_length=768)  # the names of 96 categories take 380
test_dataloader.dataset.datasets = [
    instances_val | dict(source=f"coco_instance/val/{name}", suffix=suffix)
    for name, suffix in zip(("with_ilvc", "without_ilvc"), two_prompts)
]
test_evaluator = dict(
    type=CocoInstanceMetric,
    ann_file=instances_val["ann_file"],
    out_file=f"{work_dir}/coco.json",
    results_dir=f"{work_dir}/results",
)
train_cfg.update(max_iters=300)
custom_hooks.append(dict(type=EvaluationSettingsHook))
