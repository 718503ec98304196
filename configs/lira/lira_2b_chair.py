"""LIRA-2B describes 500 images of COCO val 2014 with ILVC, and CHAIR counts objects that are not there: for ``xtuner test``.

Published figures need the list of words of CHAIR's repository: ``test_evaluator.0.synonyms=synonyms.txt``. An answer has up to
512 tokens, and an image has 1 to 6 tiles, as in LIRA's script. ``model.generation.ilvc=False`` describes them without ILVC.
"""

from mmengine.config import read_base

from lira_plugin.datasets import CocoDescriptionDataset
from lira_plugin.evaluation import ChairMetric, DumpAnswers
from lira_plugin.hooks import EvaluationSettingsHook

with read_base():
    from .lira_2b_released import *

work_dir = f"{root}/2b_chair"
annotations = f"{data_root}/suites/coco/annotations"
model.generation.update(max_new_tokens=512)
test_dataloader.dataset.update(
    datasets=[
        dict(
            type=CocoDescriptionDataset,
            ann_file=f"{annotations}/instances_val2014.json",
            image_root=f"{data_root}/suites/coco/val2014",
            count=500,
        )
    ],
    pipeline=prompt_pipeline,
)
test_evaluator = [
    dict(
        type=ChairMetric, annotations=annotations, out_file=f"{work_dir}/chair.json", dump=f"{work_dir}/captions.json"
    ),
    dict(type=DumpAnswers, out_file=f"{work_dir}/answers.jsonl", prefix="answers"),
]
custom_hooks.append(dict(type=EvaluationSettingsHook))
