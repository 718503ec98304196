"""mmdet's Grounding DINO with Swin-T, trained on RefCOCO, RefCOCO+ and RefCOCOg, scored by ReferSegMetric."""

from mmengine.config import read_base

with read_base():
    from lira_plugin.configs.lira._base_.default_runtime import *
    from lira_plugin.configs.lira._base_.schedules.one_epoch import *

    from ._base_.grounding_dino_swin_t import *
    from ._base_.refcoco_detection import *

work_dir = f"{root}/refseg_swin_t"
load_from = f"{weights_root}/groundingdino_swint_ogc_mmdet-822d7e9d.pth"  # of mmdet's model zoo
optim_wrapper.optimizer.update(lr=1e-4, weight_decay=1e-4)
optim_wrapper.update(accumulative_counts=1, clip_grad=dict(max_norm=0.1))
