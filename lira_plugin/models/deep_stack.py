"""DeepStack (arXiv 2406.04334): an LLM that reads further features of an image behind its first layers.

A position of the sequence is (1 + L) * H wide in front of such an LLM: its embedding, and what is added to its hidden state
behind each of the first L layers, zeros where there is nothing. Each of these layers takes the next H off. So whatever carries
positions to the LLM (prompts, views, caches of prefixes, batches) need not know of it.

Shape letters: L layers, H width of the LLM.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel


class _DeepStackLayer:
    """Mixed into a class of decoder layers."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., (1 + l) * H) to (..., l * H) or, where nothing is left to be added, (..., H) to (..., H)."""
        width = self.hidden_size
        output = super().forward(hidden_states[..., :width], *args, **kwargs)
        if hidden_states.shape[-1] == width:
            return output
        return torch.cat([output + hidden_states[..., width : 2 * width], hidden_states[..., 2 * width :]], -1)


def add_deep_stack(model: PreTrainedModel) -> int:
    """Let the first L layers of a causal LM read further features, as its ``config.deep_stack_levels`` says; return L."""
    levels = getattr(model.config, "deep_stack_levels", None) or 0
    if not levels:  # not every stack calls its layers so
        return 0
    for layer in model.base_model.layers[:levels]:
        kind = type(layer)
        layer.__class__ = type(kind.__name__, (_DeepStackLayer, kind), {"__module__": kind.__module__})
    return levels


def check_levels(encoder: nn.Module, llm: nn.Module) -> None:
    """Compare what a semantic encoder gives with what an LLM reads.

    Raises:
        ValueError: the encoder gives more, which would be lost.
    """
    given, read = (getattr(part, "deep_stack_levels", 0) for part in (encoder, llm))
    if given > read:
        raise ValueError(
            f"the semantic encoder gives DeepStack features for {given} layers of the LLM, but the LLM reads those of {read}: "
            "take both from one folder, or an encoder without DeepStack"
        )


def widen(features: Tensor, width: int) -> Tensor:
    """(..., H) to (..., width): nothing is added behind any layer."""
    return F.pad(features, (0, width - features.shape[-1])) if features.shape[-1] < width else features
