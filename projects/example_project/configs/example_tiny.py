"""The example on scenes: the recurrent network from nothing, the pixel encoder from the first stage of the tiny LIRA."""

from mmengine.config import read_base

with read_base():
    from lira_plugin.configs.lira._base_.default_runtime import *
    from lira_plugin.configs.lira_tiny._base_.scene_data import *
    from lira_plugin.configs.lira_tiny._base_.tiny_schedule import *

    from ._base_.tiny_words import *

work_dir = f"{root}/example"
train_cfg.update(max_iters=300)
optim_wrapper.optimizer.update(lr=3e-3)
train_dataloader.update(batch_size=16)
train_dataloader.dataset.update(datasets=[refer | dict(num_expressions=1)])
test_dataloader.dataset.update(datasets=[refer | dict(split="val")])
