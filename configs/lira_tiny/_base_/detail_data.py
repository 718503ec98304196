"""The data of the recipes of scenes with fine detail, below the folder of the other tiny recipes."""

from mmengine.config import read_base

from lira_plugin.datasets import GCGDataset, GroundedLinesDataset, ReferSegDataset

with read_base():
    from .tiny_paths import *

detail_root = f"{root}/detail"
image_root = f"{detail_root}/images"
make_detail = f"python tools/make_scenes.py {detail_root} --detail {data_root} --scenes 3000 --eval-scenes 200"
sentences = dict(type=ReferSegDataset, data_root=detail_root, split="train", split_by="unc", image_root=image_root)
captions = dict(type=GCGDataset, image_root=image_root, layout="grandf")
questions = dict(type=GroundedLinesDataset, image_root=image_root)
# the two objects of which one has the mark; what else there is; each object with its mark; yes or no
detail_train = dict(
    dataset=dict(
        datasets=[
            sentences | dict(dataset="marks", num_expressions=2, share=2),
            sentences | dict(dataset="refcoco", num_expressions=4, share=1),
            captions | dict(ann_file=f"{detail_root}/grandf/train.json", source="captions/train", share=2),
            questions | dict(ann_file=f"{detail_root}/questions/train.jsonl", source="questions/train", share=1),
        ],
        epoch_size=4000,
    )
)
detail_val = [
    captions | dict(ann_file=f"{detail_root}/grandf/val.json", question_index=0, source="captions"),
    questions | dict(ann_file=f"{detail_root}/questions/val.jsonl", source="questions"),
    sentences | dict(dataset="marks", split="val", source="sentences"),
]
detail_instances = f"{detail_root}/coco/instances_val.json"
