"""LIRA-2B as released on AttrEval: does it know the attributes that an expression does not say? For ``xtuner test``.

``tools/build_attreval.py`` writes the files into ``attreval`` of ``LIRA_DATA``. For the questions of LIRA's own release set
``test_dataloader.dataset.datasets.0.ann_file`` to its ``refcoco_attri.jsonl``. An image has 4 to 6 tiles, as in LIRA's script.
"""

from mmengine.config import read_base

from lira_plugin.datasets import AttrSegDataset, AttrVqaDataset
from lira_plugin.evaluation import AttrEvalMetric, DumpAnswers, SegWitnessMetric
from lira_plugin.hooks import EvaluationSettingsHook

with read_base():
    from .lira_2b_released import *

work_dir = f"{root}/2b_attreval"
test_dataloader.dataset.pipeline.tile.update(max_tiles=6)
test_dataloader.dataset.datasets = [
    dict(type=kind, ann_file=f"{data_root}/attreval/attreval_{part}.jsonl", image_root=coco2014)
    for kind, part in ((AttrVqaDataset, "vqa"), (AttrSegDataset, "refseg"))
]
model.generation.update(seg_words=dict(category=None, location=None, color=None))  # those of the lexicons
test_evaluator = [
    dict(type=AttrEvalMetric, out_file=f"{work_dir}/attreval.json", dump=f"{work_dir}/pairs.jsonl"),
    dict(type=SegWitnessMetric, out_file=f"{work_dir}/witness.json", dump=f"{work_dir}/witness.jsonl"),
    dict(type=DumpAnswers, out_file=f"{work_dir}/answers.jsonl", prefix="answers"),
]
custom_hooks.append(dict(type=EvaluationSettingsHook))
