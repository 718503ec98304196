"""Stage 1 of LIRA over Qwen3-VL-4B (Qwen3-4B): that of LIRA-2B."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.qwen_vl_bases import *
    from .lira_2b_pretrain import *

work_dir = f"{root}/qwen3_vl_4b_pretrain"
model.merge(bases["Qwen3-VL-4B"])
