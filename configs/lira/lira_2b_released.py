"""LIRA-2B as released: ``tools/convert_checkpoint.py lira`` makes the checkpoint, which holds what both stages trained."""

from mmengine.config import read_base

with read_base():
    from .lira_2b import *

work_dir = f"{root}/2b_released"
model.init_from.pop()
