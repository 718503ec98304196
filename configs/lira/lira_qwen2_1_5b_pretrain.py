"""Stage 1 of LIRA over Qwen2-1.5B: that of LIRA-2B with Qwen2-VL-2B, its vision tower, tokenizer and ChatML."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.qwen2_vl_2b import *
    from .lira_2b_pretrain import *

work_dir = f"{root}/qwen2_1_5b_pretrain"
model.merge(model_qwen2)
