"""Stage 1 of LIRA-2B: the projectors learn to speak to the frozen LLM and to give queries back (projection loss).

The visual block has no semantic tokens yet.
"""

from mmengine.config import read_base

with read_base():
    from ._base_.datasets.paper_data import *
    from ._base_.default_runtime import *
    from ._base_.models.lira_internvl2 import *
    from ._base_.schedules.one_epoch import *

work_dir = f"{root}/2b_pretrain"
model.update(
    frozen=["semantic_encoder", "pixel_encoder", "llm"], loss_weights=dict(llm=1.0, masks=0.0, projection=10.0)
)
model.sefe.update(enrich=False)
optim_wrapper.update(accumulative_counts=4)
optim_wrapper.optimizer.update(lr=1e-3)
train_dataloader.update(batch_size=8)
train_dataloader.sampler.update(length_group=None)
train_dataloader.dataset.update(datasets=[captions])
train_dataloader.dataset.pipeline.tokenize.update(max_length=4096)
test_dataloader = test_evaluator = test_cfg = None
default_hooks.checkpoint.update(interval=8000)
