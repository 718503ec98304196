"""LIRA-2B without SEFE: pixel and object tokens only, not enriched."""

from mmengine.config import read_base

with read_base():
    from .lira_2b import *

work_dir = f"{root}/2b_no_sefe"
model.sefe.update(enrich=False)
