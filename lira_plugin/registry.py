"""Registry nodes of this package, children of MMEngine's.

MMEngine imports this file by name when a type such as ``'lira_plugin.SEFE'`` is built, and then the modules in
``locations``; nothing has to be imported beforehand.
"""

from collections.abc import Callable
from typing import Any

from mmengine import registry as mmengine
from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import Registry

from lira_plugin.settings import check_arguments

SCOPE = "lira_plugin"
MODULE2PACKAGE[SCOPE] = SCOPE  # for mmengine.hub.get_config("lira_plugin::lira/lira_2b.py")


class CheckedRegistry(Registry):
    """A registry whose classes look at the names and types of their arguments, however they are made."""

    def register_module(self, name: Any = None, force: bool = False, module: Any = None) -> Callable:
        """Register a class or function, as a decorator or directly."""
        if module is not None:
            return super().register_module(name, force, check_arguments(module))
        register = super().register_module(name, force)
        return lambda made: register(check_arguments(made))


def _child(parent: Registry, location: str) -> Registry:
    return CheckedRegistry(parent.name, parent=parent, scope=SCOPE, locations=[location])


MODELS = _child(mmengine.MODELS, "lira_plugin.models")
MODEL_WRAPPERS = _child(mmengine.MODEL_WRAPPERS, "lira_plugin.distributed")
TASK_UTILS = _child(mmengine.TASK_UTILS, "lira_plugin.models")
DATASETS = _child(mmengine.DATASETS, "lira_plugin.datasets")
DATA_SAMPLERS = _child(mmengine.DATA_SAMPLERS, "lira_plugin.datasets")
TRANSFORMS = _child(mmengine.TRANSFORMS, "lira_plugin.datasets")
METRICS = _child(mmengine.METRICS, "lira_plugin.evaluation")
HOOKS = _child(mmengine.HOOKS, "lira_plugin.hooks")
LOOPS = _child(mmengine.LOOPS, "lira_plugin.hooks")
PARAM_SCHEDULERS = _child(mmengine.PARAM_SCHEDULERS, "lira_plugin.hooks")
VISUALIZERS = _child(mmengine.VISUALIZERS, "lira_plugin.visualization")

# Nothing of ours is in these. Without a node of this scope MMEngine warns, in every run, that it looks in its own.
for _parent, _location in (
    (mmengine.EVALUATOR, "mmengine.evaluator"),
    (mmengine.LOG_PROCESSORS, "mmengine.runner"),
    (mmengine.OPTIMIZERS, "mmengine.optim"),
    (mmengine.OPTIM_WRAPPERS, "mmengine.optim"),
    (mmengine.OPTIM_WRAPPER_CONSTRUCTORS, "mmengine.optim"),
    (mmengine.RUNNERS, "mmengine.runner"),
    (mmengine.STRATEGIES, "mmengine._strategy"),
    (mmengine.VISBACKENDS, "mmengine.visualization"),
):
    _child(_parent, _location)
