"""Stage 2 of LIRA-8B: that of LIRA-2B with InternVL2-8B and adapters of twice the rank."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.internvl2_8b import *
    from .lira_2b import *

work_dir = f"{root}/8b"
model.merge(model_8b)
model.llm.lora.update(r=256, lora_alpha=512)
model.init_from[-1].update(path=f"{root}/8b_pretrain", made_by="xtuner train configs/lira/lira_8b_pretrain.py")
