"""LIRA-2B with mmdet's published Swin-L Mask2Former as pixel encoder, in the place of OMG-Seg."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.mask2former_mmdet import *
    from .lira_2b import *

work_dir = f"{root}/2b_swin_l"
model.pixel_encoder.pop("backbone")
model.merge(mask2former.swin_l)
model.init_from[0].update(**mask2former_weights.swin_l)
model.init_from[-1].update(
    path=f"{root}/2b_swin_l_pretrain", made_by="xtuner train configs/lira/lira_2b_swin_l_pretrain.py"
)
