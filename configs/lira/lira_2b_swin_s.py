"""LIRA-2B with mmdet's published Swin-S Mask2Former as pixel encoder, in the place of OMG-Seg."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.mask2former_mmdet import *
    from .lira_2b import *

work_dir = f"{root}/2b_swin_s"
model.pixel_encoder.pop("backbone")
model.merge(mask2former.swin_s)
model.init_from[0].update(**mask2former_weights.swin_s)
model.init_from[-1].update(
    path=f"{root}/2b_swin_s_pretrain", made_by="xtuner train configs/lira/lira_2b_swin_s_pretrain.py"
)
