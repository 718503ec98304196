"""Stage 1 of the tiny recipe: the projectors learn to speak to the LLM and to give queries back (projection loss).

The visual block has no semantic tokens yet. The paper freezes the LLM here; the tiny one starts from nothing, so it learns
its language and which object is meant (query loss) at the same time. Without masks to decode, many sentences an image
are cheap. Most views of RefSeg are cut from other objects: a right one would tell the refined ``<seg>`` what to look for, and a
model that reads it need not learn to find what the question names.
"""

from mmengine.config import read_base

with read_base():
    from ..lira._base_.default_runtime import *
    from ._base_.scene_data import *
    from ._base_.tiny_model import *
    from ._base_.tiny_schedule import *

work_dir = f"{root}/pretrain"
model.loss_weights.update(masks=0.0)
model.sefe.update(enrich=False)
max_iters = 400
train_cfg.update(max_iters=max_iters)
optim_wrapper.optimizer.update(lr=6e-3)
warmup = 100 / max_iters  # iterations of all
param_scheduler[0].update(share=(0, warmup))
param_scheduler[1].update(share=(warmup, 1))
train_dataloader.dataset.update(datasets=[vqa, gcg, refer | dict(num_expressions=8, repeats=3)])
train_dataloader.dataset.pipeline.interleave.update(wrong_view=0.9, shifted_view=0.05, rough_view=0.05)
