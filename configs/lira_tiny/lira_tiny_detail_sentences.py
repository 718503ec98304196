"""``lira_tiny_detail.py`` trained further, mostly on sentences and questions that name a mark (benchmarks/ilvc.md)."""

from mmengine.config import read_base

with read_base():
    from .lira_tiny_detail import *

work_dir = f"{root}/lira_detail_sentences"
trained.update(path=f"{root}/lira_detail", made_by="xtuner train configs/lira_tiny/lira_tiny_detail.py")
model.init_from[-1].update(trained)
for entry, share in zip(train_dataloader.dataset.datasets, (6, 1, 1, 3)):
    entry.update(share=share)
del entry, share
train_dataloader.dataset.pipeline.interleave.update(wrong_view=0.25, shifted_view=0.1)
test_evaluator[0].update(out_file=f"{work_dir}/marks.json")
test_evaluator[2].update(out_file=f"{work_dir}/answers.jsonl")
train_cfg.update(max_iters=400)
param_scheduler[0].update(share=(0, 0.08))
param_scheduler[1].update(share=(0.08, 1))
