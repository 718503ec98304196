"""NaN and infinities among tensors: who holds them, and a refusal that names them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def non_finite(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Names of the floating-point tensors that hold NaN or an infinity, in their order.

    The device is waited for once, after all tensors have been looked at.
    """
    names, flags = [], []
    for name, tensor in tensors:
        if not tensor.is_floating_point() or not tensor.numel() or tensor.is_meta:
            continue
        low, high = torch.aminmax(tensor.detach().float() if tensor.element_size() == 1 else tensor.detach())
        names.append(name)
        flags.append(low.isfinite() & high.isfinite())  # of NaN anywhere both are NaN
    if not flags:
        return []
    finite = torch.stack([flag.to(flags[0].device) for flag in flags]).tolist()
    return [name for name, flag in zip(names, finite) if not flag]


def refuse_non_finite(names: Iterable[str], what: str, way_out: str) -> None:
    """Raise an error that names tensors with NaN or infinities, the first four of them.

    Args:
        names: of the tensors, see :func:`non_finite`; without any, nothing happens.
        what: holds the tensors; begins the message.
        way_out: what to do about it; ends the message.

    Raises:
        FloatingPointError: there is such a tensor.
    """
    names = list(names)
    if names:
        shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
        raise FloatingPointError(
            f"{what} holds values that are not finite, in {len(names)} tensors: {shown}; {way_out}"
        )


def named_tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors inside of dictionaries and lists, with dotted names below ``name``."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from named_tensors(inner, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from named_tensors(inner, f"{name}.{index}")
