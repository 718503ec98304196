"""mmcv without compiled operators.

Mends mmdet 3.3.0 on mmcv-lite 2.1.0: mmdet imports ``mmcv.ops``, and that imports the compiled module ``mmcv._ext``, which
the lite wheel does not have. It can go when mmdet does without ``mmcv.ops``, or when mmcv has wheels with compiled operators for
the pinned PyTorch.

:func:`install` appends a finder to ``sys.meta_path``: Python asks it for ``mmcv._ext`` only when no real one was found, so an
installed ``mmcv`` with compiled operators is left alone, and nothing is imported before it is needed.

The stand-in gives every operator name. Multi-scale deformable attention works, on any device, as PyTorch's
``grid_sample`` (mmcv ships that function but calls the compiled pair on GPUs); any other operator raises when called.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

EXTENSION = "mmcv._ext"


def install() -> None:
    """Offer the stand-in for ``mmcv._ext``; calling it again changes nothing."""
    if not any(isinstance(finder, _ExtensionFinder) for finder in sys.meta_path):
        sys.meta_path.append(_ExtensionFinder())


def has_compiled_ops() -> bool:
    """Whether ``mmcv._ext`` is the compiled module and not the stand-in."""
    spec = importlib.util.find_spec(EXTENSION)
    return spec is not None and not isinstance(spec.loader, _StandInLoader)


class _ExtensionFinder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, _StandInLoader()) if fullname == EXTENSION else None


class _StandInLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        module.ms_deform_attn_forward = _deformable_attention_forward
        module.ms_deform_attn_backward = _deformable_attention_backward


class _StandIn(ModuleType):
    """A module with every operator: asking for one is allowed, calling it is an error."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(f"module {EXTENSION!r} (a stand-in) has no attribute {name!r}")

        def missing(*args: Any, **kwargs: Any) -> None:
            raise RuntimeError(
                f"mmcv operator {name!r} needs compiled code, and the installed mmcv has none. "
                "Build those of the extra 'ops' (docs/troubleshooting.md#mmcv-operator-needs-compiled-code): "
                "uv pip uninstall mmcv-lite && "
                "uv pip install --no-build-isolation --no-deps mmcv==2.1.0"
            )

        missing.__name__ = name
        return missing


def _deformable_attention_forward(
    value: Any,
    spatial_shapes: Any,
    level_start_index: Any,
    sampling_locations: Any,
    attention_weights: Any,
    im2col_step: int = 64,
) -> Any:
    """Same arguments as mmcv's compiled operator; see ``mmcv/ops/multi_scale_deform_attn.py``."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(value, spatial_shapes, sampling_locations, attention_weights)


def _deformable_attention_backward(
    value: Any,
    spatial_shapes: Any,
    level_start_index: Any,
    sampling_locations: Any,
    attention_weights: Any,
    grad_output: Any,
    grad_value: Any,
    grad_sampling_locations: Any,
    grad_attention_weights: Any,
    im2col_step: int = 64,
) -> None:
    """Write the three gradients into the buffers given, as the compiled operator does, by running forward again."""
    import torch

    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in (value, sampling_locations, attention_weights)]
        output = _deformable_attention_forward(leaves[0], spatial_shapes, level_start_index, leaves[1], leaves[2])
        gradients = torch.autograd.grad(output, leaves, grad_output)
    for buffer, gradient in zip((grad_value, grad_sampling_locations, grad_attention_weights), gradients):
        buffer.copy_(gradient)
