"""The tiny LIRA without SEFE: pixel and object tokens only, not enriched."""

from mmengine.config import read_base

with read_base():
    from .lira_tiny import *

work_dir = f"{root}/lira_no_sefe"
model.sefe.update(enrich=False)
train_dataloader.dataset.pipeline.tile.update(max_tiles=1)  # without semantic tokens nothing reads more
train_dataloader.dataset.pipeline.tokenize.layout.update(semantic=False)
test_dataloader.dataset.pipeline.tokenize.layout.update(semantic=False)
