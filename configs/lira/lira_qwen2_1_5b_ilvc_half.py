"""LIRA over Qwen2-1.5B with two prompts; see :file:`lira_2b_ilvc_half.py`."""

from mmengine.config import read_base

with read_base():
    from .lira_qwen2_1_5b import *

work_dir = f"{root}/qwen2_1_5b_ilvc_half"
train_dataloader.dataset.pipeline.interleave.update(prob=0.5, suffixes=two_prompts)
test_dataloader.dataset.pipeline.interleave.update(suffixes=two_prompts)
