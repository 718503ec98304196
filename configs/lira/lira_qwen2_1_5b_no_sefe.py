"""LIRA over Qwen2-1.5B without SEFE; see :file:`lira_2b_no_sefe.py`."""

from mmengine.config import read_base

with read_base():
    from .lira_qwen2_1_5b import *

work_dir = f"{root}/qwen2_1_5b_no_sefe"
model.sefe.update(enrich=False)
