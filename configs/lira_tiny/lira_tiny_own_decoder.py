"""The tiny LIRA whose mask decoder is trained: a copy of the segmenter's decoder, which stays as it is."""

from mmengine.config import read_base

with read_base():
    from .lira_tiny import *

work_dir = f"{root}/lira_own_decoder"
model.mask_decoder.update(decoder="own")
model.init_from[-1].may_lack.append("mask_decoder.decoder")  # the pretrain stage decodes no masks
