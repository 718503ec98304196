"""Qwen2-VL with Mask2Former on scenes: Qwen2-VL from nothing, the pixel encoder from the first stage of the tiny LIRA."""

from mmengine.config import read_base

with read_base():
    from lira_plugin.configs.lira._base_.default_runtime import *
    from lira_plugin.configs.lira_tiny._base_.scene_data import *
    from lira_plugin.configs.lira_tiny._base_.tiny_schedule import *

    from ._base_.tiny_qwen import *

work_dir = f"{root}/qwen"
train_cfg.update(max_iters=400)
optim_wrapper.optimizer.update(lr=3e-3)
train_dataloader.update(batch_size=8)
train_dataloader.dataset.update(datasets=[refer | dict(num_expressions=4)])
test_dataloader.dataset.update(datasets=[refer | dict(split="val")])
for loader in (train_dataloader, test_dataloader):
    loader.dataset.pipeline.tile.update(max_tiles=1)  # Qwen2-VL reads an image as one square
del loader
