"""What Algorithm 1 asks of a model. Any model that does this can be generated from."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from lira_plugin.models.generation.kv_cache import SlotKVCache

DecoderPass = Callable[[Tensor, SlotKVCache], Tensor]
"""Runs (B, n, H) new positions behind those in a cache, and gives their (B, n, H) hidden states."""


class GroundedLLM(Protocol):
    """What Algorithm 1 asks of an LLM. :class:`~lira_plugin.models.InterleavedLLM` does it."""

    def embed(self, input_ids: Tensor) -> Tensor:
        """Token ids (...) to embeddings (..., H)."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., H) to next-token logits (..., V)."""

    def cached_pass(self) -> DecoderPass:
        """What runs the layers with a cache."""


class Grounder(Protocol):
    """What Algorithm 1 asks of a model: an LLM, masks of states, and tokens of views."""

    llm: GroundedLLM

    def decode_masks(self, states: Tensor, features: Sequence[Any]) -> Tensor:
        """(K, H) states of ``<seg>`` to (K, h, w) mask logits of the images that ``features`` name."""

    def encode_views(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Tensor:
        """Images with the masks of their regions to (K, U, H) view tokens."""
