"""Stage 2 of LIRA over InternVL3.5-8B (Qwen3-8B): that of LIRA-2B."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.internvl_bases import *
    from .lira_2b import *

work_dir, first_stage = f"{root}/internvl3_5_8b", "lira_internvl3_5_8b_pretrain"
model.merge(bases["InternVL3_5-8B"])
model.init_from[-1].update(path=f"{work_dir}_pretrain", made_by=f"xtuner train configs/lira/{first_stage}.py")
# Query, key and value are matrices of their own, with adapters of their own.
model.llm.lora.update(r=256, lora_alpha=512, shared_inputs=[])
