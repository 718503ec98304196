"""Stage 1 of LIRA-8B: that of LIRA-2B with InternVL2-8B."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.internvl2_8b import *
    from .lira_2b_pretrain import *

work_dir = f"{root}/8b_pretrain"
model.merge(model_8b)
