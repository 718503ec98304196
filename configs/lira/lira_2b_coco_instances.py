"""LIRA-2B with two prompts that also segments every instance of COCO's categories, which are in the prompt.

The supplement (section 6) trains this on data as PSALM builds them.
"""

from mmengine.config import read_base

with read_base():
    from .lira_2b_ilvc_half import *

work_dir = f"{root}/2b_coco_instances"
train_dataloader.dataset.datasets.append(coco_instances)
