"""LIRA-2B with two prompts that also names and segments every instance of COCO's categories, which are in the prompt.

The supplement (section 6) trains this on data as PSALM builds them. One ``xtuner test`` asks for the instances of val2017 both
ways, with ILVC and without, and scores as PSALM's protocol has it: ``coco.json`` of the work dir.
"""

from mmengine.config import read_base

from lira_plugin.evaluation import CocoInstanceMetric, DumpAnswers
from lira_plugin.hooks import EvaluationSettingsHook

with read_base():
    from .lira_2b_ilvc_half import *

work_dir = f"{root}/2b_coco_instance"
model.generation.update(max_new_tokens=1024)  # an image of COCO has up to 60 instances
train_dataloader.dataset.datasets.append(coco_train2017)
test_dataloader.dataset.update(
    datasets=[
        coco_val2017 | dict(source=f"coco_instance/val2017/{name}", suffix=suffix)
        for name, suffix in zip(("with_ilvc", "without_ilvc"), two_prompts)
    ],
    pipeline=prompt_pipeline,
)
test_evaluator = [
    dict(
        type=CocoInstanceMetric,
        ann_file=coco_val2017["ann_file"],
        out_file=f"{work_dir}/coco.json",
        results_dir=f"{work_dir}/results",
    ),
    dict(type=DumpAnswers, out_file=f"{work_dir}/answers.jsonl", prefix="answers"),
]
custom_hooks.append(dict(type=EvaluationSettingsHook))
