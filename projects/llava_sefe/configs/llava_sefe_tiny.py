"""LLaVA with SEFE on scenes: a new CLIP tower, and the LLM and the semantic encoder of the tiny LIRA's first stages."""

from mmengine.config import read_base

with read_base():
    from lira_plugin.configs.lira._base_.default_runtime import *
    from lira_plugin.configs.lira_tiny._base_.tiny_schedule import *

    from ._base_.scene_dialogues import *
    from ._base_.tiny_llava import *

work_dir = f"{root}/llava_sefe"
train_cfg.update(max_iters=100)
