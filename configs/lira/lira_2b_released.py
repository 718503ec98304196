"""LIRA-2B as released: ``tools/convert_checkpoint.py lira`` makes the checkpoint, which holds what both stages trained.

The command line names it: ``--checkpoint lira_2b.pth`` to test, ``--cfg-options load_from=lira_2b.pth`` to train further.
"""

from mmengine.config import read_base

with read_base():
    from .lira_2b import *

work_dir = f"{root}/2b_released"
model.init_from.pop()
