"""The tiny LIRA describes unseen scenes, and CHAIR counts the shapes that are not there: for ``xtuner test``.

``model.generation.ilvc=False`` describes them without ILVC.
"""

from mmengine.config import read_base

from lira_plugin.evaluation import ChairMetric, DumpAnswers
from lira_plugin.hooks import EvaluationSettingsHook

with read_base():
    from .lira_tiny import *

work_dir = f"{root}/lira_chair"
test_dataloader.dataset.datasets = [
    gcg | dict(ann_file=f"{data_root}/grandf/scenes_GCG_val.json", question_index=0, source="gcg/val"),
]
test_evaluator = [
    dict(
        type=ChairMetric,
        annotations=f"{data_root}/coco/instances_val.json",
        category_key="supercategory",
        out_file=f"{work_dir}/chair.json",
        dump=f"{work_dir}/captions.json",
    ),
    dict(type=DumpAnswers, out_file=f"{work_dir}/answers.jsonl", prefix="answers"),
]
custom_hooks.append(dict(type=EvaluationSettingsHook))
