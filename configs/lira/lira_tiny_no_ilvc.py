"""The tiny LIRA without ILVC: a phrase is answered as ``<p> phrase </p> <seg>``, and no crop is looked at."""

from mmengine.config import read_base

with read_base():
    from .lira_tiny import *

work_dir = f"{root}/lira_no_ilvc"
model.generation.update(ilvc=False)
train_dataloader.dataset.pipeline.interleave.update(prob=0.0)
test_dataloader.dataset.pipeline.interleave.update(prob=0.0)
