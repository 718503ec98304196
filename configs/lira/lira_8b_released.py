"""LIRA-8B as released; see :file:`lira_2b_released.py`."""

from mmengine.config import read_base

with read_base():
    from .lira_8b import *

work_dir = f"{root}/8b_released"
model.init_from.pop()
