"""The data of the paper's two stages and of RefSeg evaluation, below ``data_root`` as LIRA's data release lays them out."""

from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.runner import TestLoop

from lira_plugin.datasets import (
    CocoPromptDataset,
    GCGDataset,
    ImageBatchSampler,
    LlavaDataset,
    MixtureDataset,
    ReferSegDataset,
    ResumableSampler,
    grounding_collate,
)
from lira_plugin.evaluation import ReferSegMetric

with read_base():
    from ..paths import *
    from ..pipeline import *

glamm = f"{data_root}/glamm_data"
coco2014 = f"{glamm}/images/coco2014/train2014"

# The pretrain stage.
captions = dict(
    type=LlavaDataset,
    ann_file=f"{data_root}/pretrained/stage1.json",
    image_root=f"{data_root}/pretrained/images",
    source="pretrain",
)

# The finetune stage: 411 k questions, 168 k RefSeg records (three draws of each image), 206 k captions.
vqa = dict(
    type=LlavaDataset, ann_file=f"{data_root}/vqa/stage2.json", image_root=f"{data_root}/vqa/images", source="vqa"
)
refer = dict(type=ReferSegDataset, data_root=f"{data_root}/ref_seg", image_root=coco2014)
refer_train = [
    dict(**refer, dataset=dataset, split="train", num_expressions=3) for dataset in ("refcoco", "refcoco+", "refcocog")
]
refcocog_gcg, flickr_gcg, grandf_gcg, psg_gcg = [
    dict(
        type=GCGDataset,
        ann_file=f"{glamm}/annotations/{file}_train_highlight_bg.json",
        image_root=f"{glamm}/images/{images}",
        layout=gcg_layout,
        source=f"gcg/{name}",
        on_bad_record="skip",  # a crossing span among 200 k captions is counted and logged
    )
    for name, file, images, gcg_layout in (
        ("RefCOCOg", "RefCOCOg_GCG", "coco2014/train2014", "refcocog"),
        ("flickr_mergedGT", "flickr_mergedGT_GCG", "flickr30k/Flickr30K", "flickr"),
        ("GranDf_HA", "GranDf_HA_GCG", "grandf/train", "grandf"),
        ("OpenPsg", "OpenPsgGCG", "coco2017", "grandf"),
    )
]
# For recipes that also name and segment every instance of COCO's 80 categories (lira_2b_coco_instance.py).
coco_train2017, coco_val2017 = [
    dict(
        type=CocoPromptDataset,
        ann_file=f"{data_root}/coco/annotations/instances_{split}.json",
        image_root=f"{glamm}/images/coco2017/{split}",
        source=f"coco_instance/{split}",
    )
    for split in ("train2017", "val2017")
]
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    dataset=dict(
        type=MixtureDataset,
        datasets=[
            vqa,
            *[entry | dict(repeats=3) for entry in refer_train],
            refcocog_gcg,
            flickr_gcg,
            grandf_gcg | dict(repeats=10),
            psg_gcg,
        ],
        pipeline=pipeline,
    ),
    sampler=dict(type=ResumableSampler, length_group=16),
    collate_fn=dict(type=grounding_collate),
)

test_splits = [
    (dataset, split)
    for dataset, splits in (
        ("refcoco", ("val", "testA", "testB")),
        ("refcoco+", ("val", "testA", "testB")),
        ("refcocog", ("val", "test")),
    )
    for split in splits
]
test_dataloader = dict(
    batch_size=8,
    num_workers=4,
    dataset=dict(
        type=MixtureDataset,
        datasets=[dict(**refer, dataset=dataset, split=split) for dataset, split in test_splits],
        # LIRA's RefSeg evaluation cuts more tiles than its training.
        pipeline=prompt_pipeline | dict(tile=prompt_pipeline["tile"] | dict(min_tiles=4, max_tiles=12)),
    ),
    sampler=dict(type=DefaultSampler, shuffle=False),
    batch_sampler=dict(type=ImageBatchSampler),
    collate_fn=dict(type=grounding_collate),
)
test_evaluator = dict(type=ReferSegMetric)
test_cfg = dict(type=TestLoop)
