"""Before ``lira_tiny_detail.py``: the tiny LIRA's semantic encoder learns to name the marks of scenes with fine detail, too."""

from mmengine.config import read_base

with read_base():
    from .lira_tiny_semantic import *
    from ._base_.detail_data import *  # isort: skip

work_dir = f"{root}/detail_semantic"
model.update(
    class_attributes=[6, 8, 5],  # shapes, colours, and marks or none
    init_from=[semantic_weights | dict(may_lack=["classifier"])],
)
train_cfg.update(max_iters=400)
param_scheduler[0].update(share=(0, 0.25))
param_scheduler[1].update(share=(0.25, 1))
for loader, split in ((train_dataloader, "train"), (test_dataloader, "val")):
    loader.dataset.update(ann_file=f"{detail_root}/coco/instances_{split}.json", image_root=image_root)
del loader, split
