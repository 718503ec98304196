"""The fast tiny recipe: LIRA learns easy scenes in one stage, from the segmenter and the semantic encoder on."""

from mmengine.config import read_base
from mmengine.runner import ValLoop

with read_base():
    from ..lira._base_.default_runtime import *
    from ._base_.fast_model import *
    from ._base_.scene_data import *
    from ._base_.tiny_schedule import *

work_dir = f"{root}/lira_fast"
max_iters = 200
train_cfg.update(max_iters=max_iters, val_interval=80)
optim_wrapper.optimizer.update(lr=6e-3)
warmup = 40 / max_iters  # iterations of all
param_scheduler[0].update(share=(0, warmup))
param_scheduler[1].update(share=(warmup, 1))
train_dataloader.dataset.update(datasets=[vqa, gcg, refer | dict(num_expressions=4, repeats=8)])
train_dataloader.dataset.pipeline.tile.update(max_tiles=1)
train_dataloader.dataset.pipeline.interleave.update(wrong_view=0.7, shifted_view=0.1, rough_view=0.0)
test_dataloader.dataset.update(datasets=[refer | dict(split="val")])
test_dataloader.dataset.pipeline.tile.update(max_tiles=1)
# how well it points so far: a few sentences
val_dataloader = test_dataloader | dict(
    dataset=test_dataloader["dataset"] | dict(datasets=[refer | dict(split="val", repeats=0.1)])
)
val_evaluator = test_evaluator
val_cfg = dict(type=ValLoop)
