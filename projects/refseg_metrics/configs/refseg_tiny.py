"""A Grounding DINO on scenes, scored by ReferSegMetric: the filled box of each sentence against its object."""

from mmengine.config import read_base

with read_base():
    from lira_plugin.configs.lira._base_.default_runtime import *
    from lira_plugin.configs.lira_tiny._base_.tiny_schedule import *

    from ._base_.scene_detection import *
    from ._base_.tiny_grounding_dino import *

work_dir = f"{root}/refseg"
train_cfg.update(max_iters=300)
train_dataloader.update(batch_size=8)
