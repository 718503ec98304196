"""The tiny LIRA without ILVC: a phrase is answered as ``<p> phrase </p> <seg>``, and no crop is looked at."""

from mmengine.config import read_base

with read_base():
    from .lira_tiny import *

work_dir = f"{root}/lira_no_ilvc"
model.generation.update(ilvc=False)
