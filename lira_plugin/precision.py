"""Floating-point types: by name, and running a model whose weights are of 16 bits."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

_MODEL_TYPES = (torch.float32, torch.bfloat16, torch.float16)


def as_dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    """A floating-point type that models run in, which may be named; None stays None.

    Raises:
        ValueError: it is none of these; with float64, parts that compute in float32 would meet weights of another type.
    """
    found = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if dtype is not None and (not isinstance(found, torch.dtype) or found not in _MODEL_TYPES):
        raise ValueError(
            "dtype must be a floating-point type that models run in, 'float32', 'bfloat16' or 'float16', or None for that of the "
            f"weights, got {dtype!r}"
        )
    return found


def autocast_to_weights(model: nn.Module) -> AbstractContextManager:
    """Autocast to the type of the weights, if that is one of 16 bits.

    DeepSpeed and ``model.bfloat16()`` cast weights and leave the rest to the model, but mmdet computes position encodings,
    reference points and masks in fp32, which then meet weights of another type. Weights in fp32 keep what the training asks for
    (``AmpOptimWrapper``).
    """
    parameter = next(model.parameters())
    if parameter.dtype not in (torch.bfloat16, torch.float16):
        return nullcontext()
    return torch.autocast(parameter.device.type, parameter.dtype)
