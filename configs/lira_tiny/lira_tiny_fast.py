"""The fast tiny recipe: LIRA learns easy scenes in one stage, from the segmenter and the semantic encoder on."""

from mmengine.config import read_base

with read_base():
    from ._base_.fast_model import *
    from .lira_tiny_pretrain import *

work_dir = f"{root}/lira"
model.loss_weights.update(masks=0.5)
model.sefe.update(enrich=True)
max_iters = 250
train_cfg.update(max_iters=max_iters)
warmup = 40 / max_iters  # iterations of all
param_scheduler[0].update(share=(0, warmup))
param_scheduler[1].update(share=(warmup, 1))
train_dataloader.dataset.update(datasets=[vqa, gcg, refer | dict(num_expressions=4, repeats=8)])
train_dataloader.dataset.pipeline.tile.update(max_tiles=1)
train_dataloader.dataset.pipeline.interleave.update(wrong_view=0.7, shifted_view=0.1, rough_view=0.0)
test_dataloader.dataset.update(datasets=[refer | dict(split="val")])
test_dataloader.dataset.pipeline.tile.update(max_tiles=1)
