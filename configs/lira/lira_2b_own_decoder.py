"""LIRA-2B whose mask decoder is trained: a copy of the segmenter's decoder, as X-SAM and PSALM have it."""

from mmengine.config import read_base

with read_base():
    from .lira_2b import *

work_dir = f"{root}/2b_own_decoder"
model.mask_decoder.update(decoder="own")
model.init_from[-1].may_lack.append("mask_decoder.decoder")  # the pretrain stage decodes no masks
