"""LIRA-2B that also learns and is tested on ReasonSeg: gIoU and cIoU of short and long questions and of all."""

from mmengine.config import read_base

from lira_plugin.datasets import ReasonSegDataset
from lira_plugin.evaluation import DumpAnswers

with read_base():
    from .lira_2b import *

work_dir = f"{root}/2b_reason"
reason = dict(type=ReasonSegDataset, data_root=f"{data_root}/reason_seg/ReasonSeg")
train_dataloader.dataset.datasets.append(reason | dict(split="train", num_questions=3, repeats=10))
test_dataloader.dataset.datasets = [reason | dict(split=split) for split in ("val", "test")]
test_evaluator.update(
    combined={
        f"reasonseg/{split}/all": [f"reasonseg/{split}/short", f"reasonseg/{split}/long"] for split in ("val", "test")
    },
    out_file=f"{work_dir}/reason.json",
)
test_evaluator = [
    test_evaluator,
    dict(type=DumpAnswers, out_file=f"{work_dir}/answers.jsonl", prefix="answers"),
]
