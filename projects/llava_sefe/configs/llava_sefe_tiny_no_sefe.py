"""The same LLaVA without SEFE: the LLM reads the projected patches of the CLIP tower alone, as in LLaVA."""

from mmengine.config import read_base

with read_base():
    from .llava_sefe_tiny import *

work_dir = f"{root}/llava_no_sefe"
model.sefe.update(enrich=False)
