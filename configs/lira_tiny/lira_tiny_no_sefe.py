"""The tiny LIRA without SEFE: pixel and object tokens only, not enriched."""

from mmengine.config import read_base

with read_base():
    from .lira_tiny import *

work_dir = f"{root}/lira_no_sefe"
model.sefe.update(enrich=False)
