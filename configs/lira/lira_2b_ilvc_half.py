"""LIRA-2B with two prompts: half of the samples are answered with ILVC, half without, and the question says which.

The supplement (section 6) gives the idea, not the words.
"""

from mmengine.config import read_base

with read_base():
    from .lira_2b import *

work_dir = f"{root}/2b_ilvc_half"
train_dataloader.dataset.pipeline.interleave.update(prob=0.5, suffixes=two_prompts)
# Testing is with ILVC; model.generation.ilvc=False on the command line tests without.
test_dataloader.dataset.pipeline.interleave.update(suffixes=two_prompts)
