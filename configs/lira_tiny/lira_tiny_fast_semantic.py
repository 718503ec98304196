"""Before the one stage of the fast tiny recipe: the semantic encoder learns to name objects of easy scenes."""

from mmengine.config import read_base

with read_base():
    from .lira_tiny_semantic import *

work_dir = f"{root}/semantic_fast"
train_cfg.update(max_iters=200)
train_dataloader.dataset.pipeline.views.update(rough_view=0.2)
