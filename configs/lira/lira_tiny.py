"""Stage 3 of the tiny recipe: LIRA learns referring segmentation, grounded captions and questions together."""

from mmengine.config import read_base

with read_base():
    from ._base_.datasets.scenes import *
    from ._base_.default_runtime import *
    from ._base_.schedules.tiny import *

work_dir = f"{root}/lira"
segmenter_weights = dict(
    path=f"{root}/segmenter",
    prefix="pixel_encoder.",
    may_lack=["llm", "sefe", "semantic_encoder", "mask_decoder"],
    made_by="xtuner train configs/lira/lira_tiny_segmenter.py",
)
pretrained_weights = dict(
    path=f"{root}/pretrain",
    may_lack=["pixel_encoder", "sefe.enrich"],
    made_by="xtuner train configs/lira/lira_tiny_pretrain.py",
)
model.update(
    frozen=["pixel_encoder"],
    init_from=[segmenter_weights, pretrained_weights],
    loss_weights=dict(llm=1.0, masks=1.0, projection=10.0),
)
max_iters = 1300
train_cfg.update(max_iters=max_iters)
param_scheduler[1].update(end=max_iters)
optim_wrapper.optimizer.update(lr=2e-3)
