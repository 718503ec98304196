"""The tiny LIRA that also learns to tell attributes which an expression does not say, and is tested on AttrEval.

One test has both parts, questions and expressions. The training goes on from ``lira_tiny.py`` for as many iterations.
"""

from mmengine.config import read_base

from lira_plugin.datasets import AttrSegDataset, AttrVqaDataset
from lira_plugin.evaluation import AttrEvalMetric, DumpAnswers, SegWitnessMetric
from lira_plugin.hooks import EvaluationSettingsHook

with read_base():
    from ._base_.scene_words import *
    from .lira_tiny import *

work_dir = f"{root}/lira_attreval"
made_by = "xtuner train configs/lira_tiny/lira_tiny.py"
model.init_from.append(dict(path=f"{root}/lira", may_lack=["semantic_encoder", "pixel_encoder"], made_by=made_by))
attributes = vqa | dict(ann_file=f"{data_root}/llava/attributes_train.json", source="attributes/train")
train_dataloader.dataset.update(
    datasets=[
        attributes | dict(share=2),
        refer | dict(num_expressions=4, share=2),
        gcg | dict(share=0.5),
        vqa | dict(share=0.5),
    ],
    epoch_size=2400,
)
test_dataloader.dataset.datasets = [
    dict(type=kind, ann_file=f"{data_root}/attreval/attreval_{part}.jsonl", image_root=image_root)
    for kind, part in ((AttrVqaDataset, "vqa"), (AttrSegDataset, "refseg"))
]
model.generation.update(seg_words=scene_words)
test_evaluator = [
    dict(type=AttrEvalMetric, out_file=f"{work_dir}/attreval.json", dump=f"{work_dir}/pairs.jsonl"),
    dict(type=SegWitnessMetric, out_file=f"{work_dir}/witness.json", dump=f"{work_dir}/witness.jsonl"),
    dict(type=DumpAnswers, out_file=f"{work_dir}/answers.jsonl", prefix="answers"),
]
custom_hooks.append(dict(type=EvaluationSettingsHook))
train_cfg.update(max_iters=900)
