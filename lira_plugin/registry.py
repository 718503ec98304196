"""Registry nodes of this package, children of MMEngine's.

MMEngine imports this file by name when a type such as ``'lira_plugin.SEFE'`` is built, and then the modules in
``locations``; nothing has to be imported beforehand.
"""

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import Registry

SCOPE = "lira_plugin"

MODELS = Registry("model", parent=MMENGINE_MODELS, scope=SCOPE, locations=["lira_plugin.models"])
MODEL_WRAPPERS = Registry(
    "model wrapper", parent=MMENGINE_MODEL_WRAPPERS, scope=SCOPE, locations=["lira_plugin.models"]
)
TASK_UTILS = Registry("task util", parent=MMENGINE_TASK_UTILS, scope=SCOPE, locations=["lira_plugin.models"])
DATASETS = Registry("dataset", parent=MMENGINE_DATASETS, scope=SCOPE, locations=["lira_plugin.datasets"])
DATA_SAMPLERS = Registry("data sampler", parent=MMENGINE_DATA_SAMPLERS, scope=SCOPE, locations=["lira_plugin.datasets"])
TRANSFORMS = Registry("transform", parent=MMENGINE_TRANSFORMS, scope=SCOPE, locations=["lira_plugin.datasets"])
METRICS = Registry("metric", parent=MMENGINE_METRICS, scope=SCOPE, locations=["lira_plugin.evaluation"])
HOOKS = Registry("hook", parent=MMENGINE_HOOKS, scope=SCOPE, locations=["lira_plugin.hooks"])
LOOPS = Registry("loop", parent=MMENGINE_LOOPS, scope=SCOPE, locations=["lira_plugin.hooks"])
VISUALIZERS = Registry("visualizer", parent=MMENGINE_VISUALIZERS, scope=SCOPE, locations=["lira_plugin.visualization"])
