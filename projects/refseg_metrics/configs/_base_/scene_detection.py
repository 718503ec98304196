"""Scenes as mmdet's detectors take them: the phrases are the text, and a label is the index of a phrase."""

from mmdet.datasets.transforms import PackDetInputs, Resize
from mmengine.config import read_base
from mmengine.dataset import pseudo_collate

from lira_plugin.datasets import ToDetInputs

with read_base():
    from lira_plugin.configs.lira_tiny._base_.scene_data import *

detection = [
    read_image["load"],
    read_image["decode"],
    dict(type=ToDetInputs, text="phrases"),
    dict(type=Resize, scale=(96, 96), keep_ratio=True),
    dict(type=PackDetInputs, meta_keys=ToDetInputs.META_KEYS),
]
for loader in (train_dataloader, test_dataloader):
    loader.update(collate_fn=dict(type=pseudo_collate))
    loader.dataset.update(pipeline=detection)
# One sentence an image, for two of the same object would deny each other; objects with their names say what words mean.
named = {key: value for key, value in instances.items() if key != "pipeline"}
train_dataloader.dataset.update(datasets=[refer | dict(num_expressions=1), named])
test_dataloader.update(batch_sampler=None)
test_dataloader.dataset.update(datasets=[refer | dict(split="val")])
del loader, named
