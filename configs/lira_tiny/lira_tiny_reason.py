"""The tiny LIRA that also learns and is tested on ReasonSeg: questions about one object, with parts that do not count.

Its test gives gIoU and cIoU of short and long questions and of all.
"""

from mmengine.config import read_base

from lira_plugin.datasets import ReasonSegDataset

with read_base():
    from .lira_tiny import *

work_dir = f"{root}/lira_reason"
reason = dict(type=ReasonSegDataset, data_root=f"{data_root}/reason_seg")
train_dataloader.dataset.datasets.append(reason | dict(split="train", num_questions=2, repeats=3))
test_dataloader.dataset.datasets = [reason | dict(split=split) for split in ("val", "test")]
test_evaluator.update(
    combined={
        f"reasonseg/{split}/all": [f"reasonseg/{split}/short", f"reasonseg/{split}/long"] for split in ("val", "test")
    },
    out_file=f"{work_dir}/reason.json",
)
