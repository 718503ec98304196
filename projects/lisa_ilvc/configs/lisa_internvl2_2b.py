"""LISA with ILVC over InternVL2-2B and SAM ViT-H: LISA's adapters and rate, LIRA's finetune data, one epoch."""

from mmengine.config import read_base

with read_base():
    from lira_plugin.configs.lira._base_.datasets.paper_data import *
    from lira_plugin.configs.lira._base_.default_runtime import *
    from lira_plugin.configs.lira._base_.schedules.one_epoch import *

    from ._base_.lisa_sam_h import *

work_dir = f"{root}/lisa_internvl2_2b"
optim_wrapper.optimizer.update(lr=3e-4)
for loader in (train_dataloader, test_dataloader):
    loader.dataset.pipeline.tile.update(min_tiles=1, max_tiles=1)  # the LLM reads an image in the tokens of one tile
del loader
