"""The tiny LIRA answers questions about unseen scenes in words: what all tiny suites share.

The tiny model has learnt questions without the words that ask for a short answer, and no letters of choices: ``prompt`` and
``ask_as`` of the data sets say so.
"""

from mmengine.config import read_base

from lira_plugin.datasets import ChoiceTableDataset, GqaDataset, PopeDataset, ScienceQADataset, VqaDataset
from lira_plugin.evaluation import AnswerMetric, ChanceLevel
from lira_plugin.hooks import EvaluationSettingsHook

with read_base():
    from ...lira_tiny import *

eval_root = f"{root}/eval"
suites_root = f"{data_root}/suites"
vqav2 = dict(
    type=VqaDataset,
    questions=f"{suites_root}/vqav2/questions.json",
    annotations=f"{suites_root}/vqav2/annotations.json",
    image_root=image_root,
    prompt="plain",
    source="scenes/vqav2",
)
gqa = dict(
    type=GqaDataset,
    ann_file=f"{suites_root}/gqa/questions.json",
    image_root=image_root,
    prompt="plain",
    source="scenes/gqa",
)
pope = dict(
    type=PopeDataset,
    ann_files={
        "random": f"{suites_root}/pope/coco_pope_random.json",
        "popular": f"{suites_root}/pope/coco_pope_popular.json",
        "adversarial": f"{suites_root}/pope/coco_pope_adversarial.json",
    },
    image_root=image_root,
    source="scenes/pope",
)
scienceqa = dict(
    type=ScienceQADataset,
    problems=f"{suites_root}/scienceqa/problems.json",
    splits=f"{suites_root}/scienceqa/pid_splits.json",
    image_root=f"{suites_root}/scienceqa/images/test",
    images_only=False,
    ask_as="question",
    source="scenes/scienceqa",
)
mmbench = dict(
    type=ChoiceTableDataset,
    ann_file=f"{suites_root}/mmbench/mmbench_dev.tsv",
    ask_as="question",
    source="scenes/mmbench",
)
model.generation.update(ilvc=False, max_new_tokens=10)
test_evaluator = [dict(type=AnswerMetric), dict(type=ChanceLevel)]
custom_hooks.append(dict(type=EvaluationSettingsHook))
