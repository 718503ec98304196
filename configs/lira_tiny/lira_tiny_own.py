"""The tiny LIRA trained further on masks of your own, with scenes in every third sample against forgetting (docs/own_data.md).

Its pixel encoder has seen nothing but scenes, so it is trained along; the full model's knows photographs and stays frozen.
"""

from mmengine.config import read_base

with read_base():
    from ..lira._base_.datasets.own_data import *
    from .lira_tiny import *

work_dir = f"{root}/lira_own"
model.init_from[-1] = dict(
    path=f"{root}/lira",
    may_lack=["semantic_encoder", "pixel_encoder"],
    made_by="xtuner train configs/lira_tiny/lira_tiny.py",
)
train_dataloader.dataset.update(
    datasets=[own_train | dict(share=2), refer | dict(num_expressions=4, share=1)], epoch_size=600
)
test_dataloader.dataset.update(datasets=[own_val, *test_dataloader.dataset.datasets])
model.frozen = ["semantic_encoder"]
train_cfg.update(max_iters=400)
optim_wrapper.optimizer.update(lr=1e-3)
