"""LLaVA-1.5-7B with SEFE and InternViT: Vicuna with LoRA, CLIP ViT-L, LLaVA's mix of 665,000 dialogues, one epoch."""

from mmengine.config import read_base

with read_base():
    from lira_plugin.configs.lira._base_.default_runtime import *
    from lira_plugin.configs.lira._base_.schedules.one_epoch import *

    from ._base_.llava_7b import *
    from ._base_.llava_dialogues import *

work_dir = f"{root}/llava_sefe_7b"
optim_wrapper.optimizer.update(lr=2e-4)
optim_wrapper.update(accumulative_counts=8)
