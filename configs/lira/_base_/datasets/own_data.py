"""Masks of your own: COCO files whose categories are phrases, ``train.json``, ``val.json`` and ``images/`` (docs/own_data.md)."""

# See tiny_paths.py for this import.
from mmengine.config.config import os

from lira_plugin.datasets import CocoPhraseDataset

own_root = os.environ.get("LIRA_OWN_DATA", "data/own")
own = dict(type=CocoPhraseDataset, image_root=f"{own_root}/images")
own_train = own | dict(ann_file=f"{own_root}/train.json", source="own/train", num_expressions=3)
own_val = own | dict(ann_file=f"{own_root}/val.json", source="own/val")
del os
