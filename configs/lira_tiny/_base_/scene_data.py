"""The data of the tiny recipes: scenes in the published formats."""

from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.runner import TestLoop

from lira_plugin.datasets import (
    CocoInstanceDataset,
    GCGDataset,
    ImageBatchSampler,
    LlavaDataset,
    MixtureDataset,
    PackGroundingInputs,
    ReferSegDataset,
    ResumableSampler,
    grounding_collate,
)
from lira_plugin.evaluation import ReferSegMetric

with read_base():
    from ...lira._base_.pipeline import *
    from .tiny_paths import *

image_root = f"{data_root}/images"
for steps in (pipeline, prompt_pipeline):
    steps.tile.update(max_tiles=4)
    steps.tokenize.update(max_length=512)  # eight sentences of an image and their answers
del steps
instances = dict(
    type=CocoInstanceDataset,
    ann_file=f"{data_root}/coco/instances_train.json",
    image_root=image_root,
    pipeline=read_image | dict(pack=dict(type=PackGroundingInputs)),
    filter_empty=True,
)
refer = dict(type=ReferSegDataset, data_root=data_root, dataset="refcoco", split="train", image_root=image_root)
gcg = dict(
    type=GCGDataset,
    ann_file=f"{data_root}/grandf/scenes_GCG_train.json",
    image_root=image_root,
    layout="grandf",
)
vqa = dict(type=LlavaDataset, ann_file=f"{data_root}/llava/scenes_train.json", image_root=image_root)

train_dataloader = dict(
    batch_size=16,
    num_workers=0,  # reading a batch is a tenth of a step; a worker takes more than that from two computing threads
    dataset=dict(
        type=MixtureDataset,
        datasets=[refer | dict(num_expressions=4, repeats=6), gcg | dict(repeats=3), vqa | dict(repeats=2)],
        pipeline=pipeline
        | dict(interleave=pipeline["interleave"] | dict(wrong_view=0.3, shifted_view=0.1, rough_view=0.3)),
    ),
    sampler=dict(type=ResumableSampler),
    collate_fn=dict(type=grounding_collate),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=0,
    dataset=dict(
        type=MixtureDataset,
        datasets=[refer | dict(split=split) for split in ("val", "testA", "testB")],
        pipeline=prompt_pipeline,
    ),
    sampler=dict(type=DefaultSampler, shuffle=False),
    batch_sampler=dict(type=ImageBatchSampler),
    collate_fn=dict(type=grounding_collate),
)
test_evaluator = dict(type=ReferSegMetric)
test_cfg = dict(type=TestLoop)
