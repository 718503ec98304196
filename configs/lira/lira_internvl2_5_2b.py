"""Stage 2 of LIRA over InternVL2.5-2B (InternLM2.5-1.8B): that of LIRA-2B."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.internvl_bases import *
    from .lira_2b import *

work_dir, first_stage = f"{root}/internvl2_5_2b", "lira_internvl2_5_2b_pretrain"
model.merge(bases["InternVL2_5-2B"])
model.init_from[-1].update(path=f"{work_dir}_pretrain", made_by=f"xtuner train configs/lira/{first_stage}.py")
