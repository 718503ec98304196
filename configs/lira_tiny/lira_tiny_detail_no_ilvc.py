"""``lira_tiny_detail.py`` without ILVC: the same steps, and no crop is looked at."""

from mmengine.config import read_base

with read_base():
    from .lira_tiny_detail import *

work_dir = f"{root}/lira_detail_no_ilvc"
model.generation.update(ilvc=False)
test_evaluator[0].update(out_file=f"{work_dir}/marks.json")
test_evaluator[2].update(out_file=f"{work_dir}/answers.jsonl")
