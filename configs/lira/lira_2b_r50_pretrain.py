"""Stage 1 of LIRA-2B with mmdet's published ResNet-50 Mask2Former as pixel encoder."""

from mmengine.config import read_base

with read_base():
    from ._base_.models.mask2former_mmdet import *
    from .lira_2b_pretrain import *

work_dir = f"{root}/2b_r50_pretrain"
model.pixel_encoder.pop("backbone")
model.merge(mask2former.r50)
model.init_from[0].update(**mask2former_weights.r50)
