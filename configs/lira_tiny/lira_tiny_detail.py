"""The tiny LIRA on scenes with fine detail: objects have marks that only a view resolves (benchmarks/ilvc.md).

Its test asks for captions, for marks by yes and no, and for objects by their marks. The training goes on from ``lira_tiny.py``.
"""

from mmengine.config import read_base

from lira_plugin.datasets import GroundedLinesDataset
from lira_plugin.evaluation import ChairMetric, DumpAnswers
from lira_plugin.hooks import EvaluationSettingsHook
from lira_plugin.scenes.mark_metric import MarkMetric

with read_base():
    from ._base_.detail_paths import *
    from .lira_tiny import *

work_dir = f"{root}/lira_detail"
detail_semantic = semantic_weights | dict(
    path=f"{root}/detail_semantic",
    made_by="xtuner train configs/lira_tiny/lira_tiny_detail_semantic.py",
)
trained = dict(
    path=f"{root}/lira",
    may_lack=["semantic_encoder", "pixel_encoder"],
    made_by="xtuner train configs/lira_tiny/lira_tiny.py",
)
model.update(init_from=[segmenter_weights, detail_semantic, trained])
model.tokenizer.update(
    pretrained_model_name_or_path=f"{detail_root}/tokenizer",
    made_by=f"python tools/make_scenes.py {detail_root} --detail {data_root} --scenes 3000 --eval-scenes 200",
)
model.generation.update(max_new_tokens=128)

image_root = f"{detail_root}/images"
sentences = dict(type=ReferSegDataset, data_root=detail_root, split="train", split_by="unc", image_root=image_root)
captions = dict(type=GCGDataset, image_root=image_root, layout="grandf")
questions = dict(type=GroundedLinesDataset, image_root=image_root)
train_dataloader.dataset.update(
    datasets=[
        sentences | dict(dataset="marks", num_expressions=2, share=2),
        sentences | dict(dataset="refcoco", num_expressions=4, share=1),
        captions | dict(ann_file=f"{detail_root}/grandf/train.json", source="captions/train", share=2),
        questions | dict(ann_file=f"{detail_root}/questions/train.jsonl", source="questions/train", share=1),
    ],
    epoch_size=4000,
)
# half of the views contradict the words: the refined <seg> has to go to the other object
train_dataloader.dataset.pipeline.interleave.update(wrong_view=0.5, shifted_view=0.2)
test_dataloader.dataset.datasets = [
    captions | dict(ann_file=f"{detail_root}/grandf/val.json", question_index=0, source="captions"),
    questions | dict(ann_file=f"{detail_root}/questions/val.jsonl", source="questions"),
    sentences | dict(dataset="marks", split="val", source="sentences"),
]
test_evaluator = [
    dict(type=MarkMetric, annotations=f"{detail_root}/coco/instances_val.json", out_file=f"{work_dir}/marks.json"),
    dict(
        type=ChairMetric,
        annotations=f"{detail_root}/coco/instances_val.json",
        category_key="supercategory",
        prefix="chair",
    ),
    dict(type=DumpAnswers, out_file=f"{work_dir}/answers.jsonl", prefix="answers"),
]
custom_hooks.append(dict(type=EvaluationSettingsHook))
max_iters = 500
train_cfg.update(max_iters=max_iters)
warmup = 100 / max_iters  # iterations of all
param_scheduler[0].update(share=(0, warmup))
param_scheduler[1].update(share=(warmup, 1))
