"""Before stage 1 of the tiny recipe: the segmenter learns instances, in the place of OMG-Seg's weights."""

from mmengine.config import read_base

from lira_plugin.evaluation import InstanceSegMetric

with read_base():
    from ..lira._base_.default_runtime import *
    from ._base_.scene_data import *
    from ._base_.tiny_model import *
    from ._base_.tiny_schedule import *

work_dir = f"{root}/segmenter"
model = pixel_encoder
max_iters = 760
train_cfg.update(max_iters=max_iters)
warmup = 100 / max_iters  # iterations of all
param_scheduler[0].update(share=(0, warmup))
param_scheduler[1].update(share=(warmup, 1))
train_dataloader.dataset = instances
test_dataloader.dataset = instances | dict(ann_file=f"{data_root}/coco/instances_val.json", filter_empty=False)
test_dataloader.batch_sampler = None
test_evaluator = dict(type=InstanceSegMetric)
