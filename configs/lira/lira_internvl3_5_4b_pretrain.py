"""Stage 1 of LIRA over InternVL3.5-4B (Qwen3-4B): that of LIRA-2B."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.internvl_bases import *
    from .lira_2b_pretrain import *

work_dir = f"{root}/internvl3_5_4b_pretrain"
model.merge(bases["InternVL3_5-4B"])
