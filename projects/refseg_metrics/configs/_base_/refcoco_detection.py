"""RefCOCO, RefCOCO+ and RefCOCOg as mmdet's detectors take them."""

from mmdet.datasets.transforms import FixScaleResize, PackDetInputs
from mmengine.config import read_base
from mmengine.dataset import pseudo_collate

from lira_plugin.datasets import ToDetInputs

with read_base():
    from lira_plugin.configs.lira._base_.datasets.paper_data import *

detection = [
    read_image["load"],
    read_image["decode"],
    dict(type=ToDetInputs, text="phrases"),
    dict(type=FixScaleResize, scale=(800, 1333), keep_ratio=True, backend="pillow"),
    dict(type=PackDetInputs, meta_keys=ToDetInputs.META_KEYS),
]
for loader in (train_dataloader, test_dataloader):
    loader.update(batch_size=4, collate_fn=dict(type=pseudo_collate))
    loader.dataset.update(pipeline=detection)
train_dataloader.dataset.update(datasets=refer_train)
test_dataloader.update(batch_sampler=None)
del loader
