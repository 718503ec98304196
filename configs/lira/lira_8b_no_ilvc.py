"""LIRA-8B without ILVC; see :file:`lira_2b_no_ilvc.py`."""

from mmengine.config import read_base

with read_base():
    from .lira_8b import *

work_dir = f"{root}/8b_no_ilvc"
model.generation.update(ilvc=False)
