"""Stage 2 of LIRA over InternVL3.5-2B (Qwen3-1.7B): that of LIRA-2B."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.internvl_bases import *
    from .lira_2b import *

work_dir, first_stage = f"{root}/internvl3_5_2b", "lira_internvl3_5_2b_pretrain"
model.merge(bases["InternVL3_5-2B"])
model.init_from[-1].update(path=f"{work_dir}_pretrain", made_by=f"xtuner train configs/lira/{first_stage}.py")
# Query, key and value are matrices of their own, with adapters of their own.
model.llm.lora.update(shared_inputs=[])
