"""Stage 2 of the tiny recipe: LIRA learns referring segmentation, grounded captions and questions together."""

from mmengine.config import read_base

from lira_plugin.hooks import GroundingVisualizationHook

with read_base():
    from ..lira._base_.default_runtime import *
    from ._base_.scene_data import *
    from ._base_.tiny_model import *
    from ._base_.tiny_schedule import *

work_dir = f"{root}/lira"
pretrain_weights = dict(
    path=f"{root}/pretrain",
    may_lack=["semantic_encoder", "pixel_encoder", "sefe.enrich"],
    made_by="xtuner train configs/lira_tiny/lira_tiny_pretrain.py",
)
model.init_from.append(pretrain_weights)
max_iters = 900
train_dataloader.update(batch_size=10)
optim_wrapper.optimizer.update(lr=2e-3)
train_cfg.update(max_iters=max_iters)
warmup = 100 / max_iters  # iterations of all
param_scheduler[0].update(share=(0, warmup))
param_scheduler[1].update(share=(warmup, 1))
custom_hooks.append(dict(type=GroundingVisualizationHook, interval=500, num_samples=4))
