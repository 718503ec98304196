"""The tiny LIRA on scenes with fine detail: objects have marks that only a view resolves (benchmarks/ilvc.md).

Its test asks for captions, for marks by yes and no, and for objects by their marks. The training goes on from ``lira_tiny.py``.
"""

from mmengine.config import read_base

from lira_plugin.evaluation import ChairMetric, DumpAnswers
from lira_plugin.hooks import EvaluationSettingsHook
from lira_plugin.scenes.mark_metric import MarkMetric

with read_base():
    from .lira_tiny import *
    from ._base_.detail_data import *  # isort: skip

work_dir = f"{root}/lira_detail"
detail_semantic = f"{root}/detail_semantic"
made_by = "xtuner train configs/lira_tiny/lira_tiny_detail_semantic.py"
trained = dict(
    path=f"{root}/lira",
    may_lack=["semantic_encoder", "pixel_encoder"],
    made_by="xtuner train configs/lira_tiny/lira_tiny.py",
)
model.update(init_from=[segmenter_weights, semantic_weights | dict(path=detail_semantic, made_by=made_by), trained])
model.tokenizer.update(pretrained_model_name_or_path=f"{detail_root}/tokenizer", made_by=make_detail)
model.generation.update(max_new_tokens=128)
train_dataloader.dataset.update(detail_train.dataset)
# half of the views contradict the words: the refined <seg> has to go to the other object
train_dataloader.dataset.pipeline.interleave.update(wrong_view=0.5, shifted_view=0.2, rough_view=0.0)
test_dataloader.dataset.datasets = detail_val
test_evaluator = [
    dict(type=MarkMetric, annotations=detail_instances, out_file=f"{work_dir}/marks.json"),
    dict(type=ChairMetric, annotations=detail_instances, category_key="supercategory", prefix="chair"),
    dict(type=DumpAnswers, out_file=f"{work_dir}/answers.jsonl", prefix="answers"),
]
custom_hooks.append(dict(type=EvaluationSettingsHook))
train_cfg.update(max_iters=450)
param_scheduler[0].update(share=(0, 0.2))
param_scheduler[1].update(share=(0.2, 1))
