"""Stage 2 of LIRA over Qwen2.5-VL-7B (Qwen2.5-7B): that of LIRA-2B."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.qwen_vl_bases import *
    from .lira_2b import *

work_dir, first_stage = f"{root}/qwen2_5_vl_7b", "lira_qwen2_5_vl_7b_pretrain"
model.merge(bases["Qwen2_5-VL-7B"])
model.init_from[-1].update(path=f"{work_dir}_pretrain", made_by=f"xtuner train configs/lira/{first_stage}.py")
# Query, key and value are matrices of their own, with adapters of their own.
model.llm.lora.update(r=256, lora_alpha=512, shared_inputs=[])
