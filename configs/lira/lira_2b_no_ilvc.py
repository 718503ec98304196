"""LIRA-2B without ILVC: a phrase is answered as ``<p> phrase </p> [SEG]``, and no crop is looked at."""

from mmengine.config import read_base

with read_base():
    from .lira_2b import *

work_dir = f"{root}/2b_no_ilvc"
model.generation.update(ilvc=False)
