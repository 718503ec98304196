"""A process that only answers imports nothing that is for trainings.

Mends MMEngine 0.10.6: ``mmengine.model``, without which there is no model, imports all optimizers, strategies and wrappers for
several processes, and they import bitsandbytes, FSDP and torch's compiler. Mends mmdet 3.3.0, whose models import matplotlib's
windows and SciPy. Mends transformers 4.48.0, which imports the losses of detectors, torch's parallel tensors and a compiled
attention. Mends torchvision 0.22 and timm 1.0, which import torch's compiler, and torch 2.7, whose checks and checkpoints import
SymPy.
Together they take longer than torch itself. It can go when they import such things when they are used.

:func:`install` is for commands, before they import the model: the process cannot train then.
"""

import gc
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from types import ModuleType
from typing import Any, NoReturn

from lira_plugin.compat import late_packages

LEFT_OUT = ("mmengine._strategy", "mmengine.optim", "mmengine.model.wrappers.fully_sharded_distributed")
"""Modules that are not imported, with all that is in them."""
_ASSIGNERS = "mmdet.models.task_modules.assigners"
LATE = {
    "mmdet.utils.mot_error_visualize": ("matplotlib", "matplotlib.pyplot", "matplotlib.patches"),
    f"{_ASSIGNERS}.hungarian_assigner": ("scipy.optimize",),
    f"{_ASSIGNERS}.topk_hungarian_assigner": ("scipy.optimize",),
    "mmdet.models.task_modules.tracking.aflink": ("scipy.optimize",),
    "mmdet.models.task_modules.tracking.kalman_filter": ("scipy", "scipy.linalg"),
    "transformers.loss.loss_utils": (
        "transformers.loss.loss_deformable_detr",
        "transformers.loss.loss_for_object_detection",
        "transformers.loss.loss_rt_detr",
    ),
    "transformers.pytorch_utils": ("torch.distributed.tensor", "torch.distributed.tensor.parallel"),
    "transformers.integrations.flex_attention": ("torch.nn.attention.flex_attention",),
    "torchvision.ops.roi_align": ("torch._dynamo.utils",),
    "torch.utils.checkpoint": ("torch._functorch._aot_autograd.functional_utils",),
}
"""Modules, and what of others they import when it is used; see :mod:`lira_plugin.compat.late_packages`."""


def install() -> None:
    """Leave out what trainings need; nothing happens where torch has been imported already, for whatever it is to do."""
    if "torch" in sys.modules:
        return
    gc.set_threshold(50_000)  # what imports make stays: it need not be looked through for garbage every 700 objects
    of_transformers = version("transformers").startswith("4.48.")  # a newer one looks at what it imports
    late = {name: late for name, late in LATE.items() if of_transformers or not name.startswith("transformers.")}
    late_packages.install(late)
    sys.meta_path.insert(0, _LeftOutFinder())
    import torch

    torch.compiler.disable = _disable_compiler
    torch._check_with = _unless_true(torch._check_with)


def _disable_compiler(fn: Callable | None = None, recursive: bool = True, **reason: str) -> Callable:
    """As ``torch.compiler.disable``, without importing the compiler before the function is called."""
    import torch

    return torch._disable_dynamo(fn, recursive)


def _unless_true(check: Callable[..., None]) -> Callable[..., None]:
    """A check of torch that looks at what is plainly true no further."""

    @wraps(check)
    def checked(error_type: type, condition: Any, message: Any) -> None:
        if condition is not True:
            check(error_type, condition, message)

    return checked


class _LeftOutFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if any(f"{fullname}.".startswith(f"{name}.") for name in LEFT_OUT):
            return ModuleSpec(fullname, _LeftOutLoader(), is_package=True)
        return None


class _LeftOutLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _LeftOut(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it."""


class _LeftOut(ModuleType):
    """A module with every name: each is a class to inherit from and to name in annotations, of which nothing can be made."""

    __all__ = ()

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} is left out, and has no attribute {name!r}")

        def refuse(cls: type, *arguments: Any, **settings: Any) -> NoReturn:
            raise RuntimeError(f"{cls.__qualname__} is for trainings: this process was started to answer only")

        made = type(name, (), {"__new__": refuse, "__module__": self.__name__})
        setattr(self, name, made)
        return made
