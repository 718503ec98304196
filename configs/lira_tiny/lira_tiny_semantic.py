"""Before stage 1 of the tiny recipe: the semantic encoder learns to name objects, in the place of InternVL2's weights."""

from mmengine.config import read_base

from lira_plugin.datasets import CutViews
from lira_plugin.evaluation import RegionAccuracy
from lira_plugin.models import ViewClassifier

with read_base():
    from ..lira._base_.default_runtime import *
    from ._base_.scene_data import *
    from ._base_.tiny_model import *
    from ._base_.tiny_schedule import *

work_dir = f"{root}/semantic"
model = dict(
    type=ViewClassifier,
    semantic_encoder=semantic_encoder,
    hidden_size=hidden_size,
    class_attributes=class_attributes,
)
max_iters = 500
train_cfg.update(max_iters=max_iters)
instances["pipeline"]["letterbox"].update(size=image_size)  # a model of views does not say
cut = dict(type=CutViews)
views = instances["pipeline"] | dict(views=cut)
train_dataloader.dataset = instances | dict(pipeline=views | dict(views=cut | dict(shifted_view=0.2, rough_view=0.6)))
test_dataloader.dataset = instances | dict(pipeline=views, ann_file=f"{data_root}/coco/instances_val.json")
test_dataloader.batch_sampler = None
test_evaluator = dict(type=RegionAccuracy)
