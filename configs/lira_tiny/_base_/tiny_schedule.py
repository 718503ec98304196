"""One cycle of SOAP on the CPU; leaves set ``max_iters``, the share of the warm-up, and the rate.

SOAP (arXiv 2409.11321), Adam in the eigenbasis of Shampoo's preconditioner, needs a fraction of AdamW's steps here and 13 % more
time for each (``docs/notes/tiny_recipe.md``). At full size its preconditioners would not fit beside the model.
"""

from mmengine.optim import OptimWrapper
from pytorch_optimizer import SOAP

from lira_plugin.hooks import CosineShareLR, LinearShareLR, ResumableTrainLoop

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SOAP, lr=3e-3, betas=(0.95, 0.95), weight_decay=0.01, max_precondition_dim=512),
    clip_grad=dict(max_norm=5.0),
)
train_cfg = dict(type=ResumableTrainLoop, max_iters=1000)
param_scheduler = [
    dict(type=LinearShareLR, share=(0, 0.1), start_factor=0.04, by_epoch=False),
    dict(type=CosineShareLR, share=(0.1, 1), eta_min_ratio=0.01, by_epoch=False),
]
