"""The tiny LIRA's answers to grounded captions and questions about unseen scenes, as JSON Lines: for ``xtuner test``.

Of a dialogue the last question is asked, after those before it with their true answers.
"""

from mmengine.config import read_base

from lira_plugin.evaluation import DumpAnswers

with read_base():
    from .lira_tiny import *

work_dir = f"{root}/lira_answers"
test_dataloader.dataset.datasets = [
    gcg | dict(ann_file=f"{data_root}/grandf/scenes_GCG_val.json", question_index=1, source="gcg/val"),
    vqa | dict(ann_file=f"{data_root}/llava/scenes_val.json", source="vqa/val"),
]
test_evaluator = dict(type=DumpAnswers, out_file=f"{work_dir}/answers.jsonl")
