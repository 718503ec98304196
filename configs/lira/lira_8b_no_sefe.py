"""LIRA-8B without SEFE; see :file:`lira_2b_no_sefe.py`."""

from mmengine.config import read_base

with read_base():
    from .lira_8b import *

work_dir = f"{root}/8b_no_sefe"
model.sefe.update(enrich=False)
train_dataloader.dataset.pipeline.tile.update(max_tiles=1)  # without semantic tokens nothing reads more
train_dataloader.dataset.pipeline.tokenize.layout.update(semantic=False)
test_dataloader.dataset.pipeline.tokenize.layout.update(semantic=False)
