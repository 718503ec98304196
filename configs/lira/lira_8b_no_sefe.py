"""LIRA-8B without SEFE; see :file:`lira_2b_no_sefe.py`."""

from mmengine.config import read_base

with read_base():
    from .lira_8b import *

work_dir = f"{root}/8b_no_sefe"
model.sefe.update(enrich=False)
