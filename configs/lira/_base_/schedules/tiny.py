"""One cycle of AdamW on the CPU; leaves set ``max_iters``."""

from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from torch.optim import AdamW

from lira_plugin.hooks import ResumableTrainLoop

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01),
    clip_grad=dict(max_norm=5.0),
)
train_cfg = dict(type=ResumableTrainLoop, max_iters=1000)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.04, by_epoch=False, begin=0, end=100),
    dict(type=CosineAnnealingLR, by_epoch=False, begin=100, end=1000, eta_min_ratio=0.01),
]
