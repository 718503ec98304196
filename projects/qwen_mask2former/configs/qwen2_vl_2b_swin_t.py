"""Qwen2-VL-2B with mmdet's published Swin-T Mask2Former as pixel encoder, on LIRA's finetune data for one epoch."""

from mmengine.config import read_base

with read_base():
    from lira_plugin.configs.lira._base_.datasets.paper_data import *
    from lira_plugin.configs.lira._base_.default_runtime import *
    from lira_plugin.configs.lira._base_.schedules.one_epoch import *

    from ._base_.qwen_swin import *

work_dir = f"{root}/qwen2_vl_2b_swin_t"
optim_wrapper.optimizer.update(lr=1e-4)
for loader in (train_dataloader, test_dataloader):
    loader.dataset.pipeline.tile.update(min_tiles=1, max_tiles=1)  # Qwen2-VL reads an image as one square
del loader
