"""One epoch of AdamW in bf16: linear warm-up over 3 %, then cosine to 0 (LIRA's stages; leaves set rate and batch).

``xtuner train --deepspeed deepspeed_zero2`` replaces the optimizer wrapper and keeps its optimizer, accumulation and clipping.
"""

from mmengine.optim import AmpOptimWrapper
from torch.optim import AdamW

from lira_plugin.hooks import CosineShareLR, LinearShareLR, ResumableTrainLoop

warmup = 0.03  # of the training
optim_wrapper = dict(
    type=AmpOptimWrapper,
    dtype="bfloat16",
    optimizer=dict(type=AdamW, lr=2e-5, betas=(0.9, 0.999), weight_decay=0.0),
    clip_grad=dict(max_norm=1.0),
    accumulative_counts=16,
)
train_cfg = dict(type=ResumableTrainLoop, max_epochs=1)
param_scheduler = [
    dict(type=LinearShareLR, share=(0, warmup), start_factor=1e-5, by_epoch=False),
    dict(type=CosineShareLR, share=(warmup, 1), eta_min=0.0, by_epoch=False),
]
