"""Stage 1 of LIRA over Qwen2.5-VL-3B (Qwen2.5-3B): that of LIRA-2B."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.qwen_vl_bases import *
    from .lira_2b_pretrain import *

work_dir = f"{root}/qwen2_5_vl_3b_pretrain"
model.merge(bases["Qwen2_5-VL-3B"])
