"""LIRA-2B trained further on masks of your own, with RefSeg data in every third sample against forgetting.

It begins with a released or trained checkpoint: ``LIRA_START``, by default ``lira_2b.pth`` (docs/own_data.md).
"""

from mmengine.config import read_base

# See tiny_paths.py for this import.
from mmengine.config.config import os

with read_base():
    from ._base_.datasets.own_data import *
    from .lira_2b_released import *

work_dir = f"{root}/2b_own"
load_from = os.environ.get("LIRA_START", "lira_2b.pth")
del os
train_dataloader.dataset.update(
    datasets=[own_train | dict(share=6), *[entry | dict(share=1) for entry in refer_train]],
    epoch_size=4000,
)
test_dataloader.dataset.update(datasets=[own_val])
default_hooks.checkpoint.update(interval=1000)
