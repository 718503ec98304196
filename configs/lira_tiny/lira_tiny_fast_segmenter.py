"""Before the one stage of the fast tiny recipe: the segmenter learns instances of easy scenes."""

from mmengine.config import read_base

with read_base():
    from ..lira._base_.default_runtime import *
    from ._base_.fast_model import *
    from ._base_.scene_data import *
    from ._base_.tiny_schedule import *

work_dir = f"{root}/segmenter_fast"
model = pixel_encoder
max_iters = 170
train_cfg.update(max_iters=max_iters)
warmup = 30 / max_iters  # iterations of all
param_scheduler[0].update(share=(0, warmup))
param_scheduler[1].update(share=(warmup, 1))
train_dataloader.dataset = instances
