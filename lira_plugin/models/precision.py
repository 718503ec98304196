"""Running a model whose weights are of 16 bits."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


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
