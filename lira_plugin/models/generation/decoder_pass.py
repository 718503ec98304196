"""A pass of a decoder stack over the next positions of sequences whose earlier ones are in a cache.

:class:`HuggingFacePass` runs any stack as transformers has it. :class:`LlamaPass` runs layers like Llama's with half of the
calls, which are what a pass of a few tokens takes its time for: a norm is one, queries and keys are rotated together, and the
queries of a group (grouped-query attention, arXiv 2305.13245) are further positions of the head whose keys they share, where
transformers repeats keys and values, and copies those that are a part of a larger store.

Shape letters: B sequences, n new positions, H width, G key-value heads, g queries a group, D width of a head, L levels of
DeepStack (:mod:`lira_plugin.models.deep_stack`), 0 for most LLMs.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from lira_plugin.models.generation.kv_cache import SlotKVCache

Map = Callable[[Tensor], Tensor]

_STACKS = {
    f"transformers.models.{family.lower()}.modeling_{family.lower()}.{family}Model"
    for family in ("Llama", "Mistral", "Qwen2", "Qwen3")
}
"""Stacks of layers like Llama's, by name: not each version of transformers has all of them."""


class PassCache(Protocol):
    """What a pass asks of a cache. :class:`SlotKVCache` does it."""

    positions: Tensor
    """(B, n) of what is run."""
    limit: int
    """Positions that may be looked at."""

    def visible(self, dtype: torch.dtype) -> Tensor:
        """Additive causal mask, (B, 1, n, limit)."""

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Store the new keys and values of a layer, (B, G, n, D) each; return those of all positions, (B, G, limit, D)."""


class HuggingFacePass:
    """Runs any decoder stack that takes masks, positions and a cache.

    Args:
        decoder: the stack, with its final norm.

    Raises:
        ValueError: it is set to flash attention, which does not read what each position sees.
    """

    def __init__(self, decoder: PreTrainedModel) -> None:
        if getattr(decoder.config, "_attn_implementation", None) == "flash_attention_2":
            raise ValueError(
                f"attn_implementation='flash_attention_2' of {type(decoder).__name__} is for training alone: it cannot "
                "read the mask of generation; to test or infer set attn_implementation='sdpa' for the LLM"
            )
        self.decoder = decoder

    def __call__(self, embeddings: Tensor, cache: SlotKVCache) -> Tensor:
        """Run new positions.

        Args:
            embeddings: (B, n, (1 + L) * H).
            cache: it was told of the pass (:meth:`SlotKVCache.begin_pass`).

        Returns:
            (B, n, H) hidden states after the final norm.
        """
        return self.run(embeddings, self.waves(embeddings, cache.positions), cache)

    def waves(self, embeddings: Tensor, positions: Tensor) -> None:
        """Nothing: the stack makes its rotary positions itself."""

    def run(self, embeddings: Tensor, waves: None, cache: PassCache) -> Tensor:
        """The pass, for which the cache may be another object that does what a pass asks of it."""
        return self.decoder(
            inputs_embeds=embeddings,
            attention_mask=cache.visible(embeddings.dtype),
            position_ids=cache.positions,
            past_key_values=cache,
            cache_position=torch.arange(cache.limit - embeddings.shape[1], cache.limit, device=embeddings.device),
            use_cache=True,
        ).last_hidden_state


class LlamaPass:
    """Runs the layers of a decoder stack like Llama's, with the results of :class:`HuggingFacePass` up to rounding.

    Args:
        decoder: one that :meth:`fits`. Its linear layers may be adapted or quantized.
    """

    def __init__(self, decoder: PreTrainedModel) -> None:
        self.rotary, self.norm, self.width = decoder.rotary_emb, _norm(decoder.norm), decoder.config.hidden_size
        self.group = decoder.config.num_attention_heads // decoder.config.num_key_value_heads
        self.layers = [
            (
                _norm(layer.input_layernorm),
                _Attention(layer.self_attn),
                _norm(layer.post_attention_layernorm),
                _FeedForward(layer.mlp),
            )
            for layer in decoder.layers
        ]

    @staticmethod
    def fits(decoder: PreTrainedModel) -> bool:
        """Whether this does what the decoder stack itself would do: no part that it bypasses is wrapped or hooked."""
        kind = type(decoder)
        home = kind.__module__
        if f"{home}.{kind.__qualname__}" not in _STACKS or short_sight(decoder.config):
            return False

        def is_plain(*modules: nn.Module) -> bool:
            return all(type(module).__module__ == home and not _is_changed(module) for module in modules)

        return is_plain(decoder, decoder.norm, *decoder.layers) and all(
            is_plain(layer.self_attn, layer.mlp, layer.input_layernorm, layer.post_attention_layernorm)
            and is_plain(*_head_norms(layer.self_attn))
            for layer in decoder.layers
        )

    def __call__(self, embeddings: Tensor, cache: SlotKVCache) -> Tensor:
        """Run new positions; see :class:`HuggingFacePass`."""
        return self.run(embeddings, self.waves(embeddings, cache.positions), cache)

    def waves(self, embeddings: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines, and sines with the sign of their half, of (B, n) positions: (B, n, 1, D).

        They are no part of :meth:`run`, since frequencies that depend on the greatest position cannot be compiled.
        """
        cos, sin = (wave[:, :, None] for wave in self.rotary(embeddings, positions))
        half = sin.shape[-1] // 2
        return cos, torch.cat([-sin[..., :half], sin[..., half:]], -1)

    def run(self, embeddings: Tensor, waves: tuple[Tensor, Tensor], cache: PassCache) -> Tensor:
        """The pass, for which the cache may be another object that does what a pass asks of it."""
        mask = cache.visible(embeddings.dtype).repeat(1, 1, self.group, 1)  # (B, 1, g * n, positions)
        hidden, *further = embeddings.split(self.width, -1)
        for index, (norm, attend, norm_behind, feed_forward) in enumerate(self.layers):
            hidden = hidden + attend(norm(hidden), waves, mask, cache)
            hidden = hidden + feed_forward(norm_behind(hidden))
            if index < len(further):
                hidden = hidden + further[index]
        return self.norm(hidden)


class _Attention:
    def __init__(self, attention: nn.Module) -> None:
        self.query, self.key = _linear(attention.q_proj), _linear(attention.k_proj)
        self.value, self.out = _linear(attention.v_proj), _linear(attention.o_proj)
        self.head_norms = [_norm(norm) for norm in _head_norms(attention)]
        self.width, self.scale, self.layer = attention.head_dim, attention.scaling, attention.layer_idx

    def __call__(self, x: Tensor, waves: tuple[Tensor, Tensor], mask: Tensor, cache: PassCache) -> Tensor:
        cos, sin = waves
        batch, new, _ = x.shape
        both = [states.view(batch, new, -1, self.width) for states in (self.query(x), self.key(x))]
        if self.head_norms:
            both = [norm(states) for norm, states in zip(self.head_norms, both)]
        both = torch.cat(both, 2)
        both = torch.addcmul(both * cos, both.roll(self.width // 2, -1), sin)
        values = self.value(x).view(batch, new, -1, self.width).transpose(1, 2)
        heads = values.shape[1]
        queries, keys = both[:, :, :-heads].transpose(1, 2), both[:, :, -heads:].transpose(1, 2)
        keys, values = cache.update(keys, values, self.layer)
        queries = queries.reshape(batch, heads, -1, self.width)  # (B, G * g, n, D) to (B, G, g * n, D)
        found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=self.scale)
        return self.out(found.reshape(batch, -1, new, self.width).transpose(1, 2).reshape(batch, new, -1))


class _FeedForward:
    def __init__(self, mlp: nn.Module) -> None:
        self.gate, self.up, self.down = _linear(mlp.gate_proj), _linear(mlp.up_proj), _linear(mlp.down_proj)
        self.activation = F.silu if type(mlp.act_fn) is nn.SiLU else mlp.act_fn

    def __call__(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.gate(x)) * self.up(x))


def short_sight(config: PretrainedConfig) -> str:
    """The setting by which some layers of a stack do not see all positions before their own; empty where each layer does."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:  # transformers 4.48 does not tell layers apart
        return ", ".join(f"layer_types={kind!r}" for kind in sorted(set(kinds) - {"full_attention"}))
    window = getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None)
    first = getattr(config, "max_window_layers", None) or 0
    return f"sliding_window={window}" if window and first < config.num_hidden_layers else ""


def _head_norms(attention: nn.Module) -> list[nn.Module]:
    """The norms of each head's queries and keys, which Qwen3 has."""
    return [getattr(attention, name) for name in ("q_norm", "k_norm") if hasattr(attention, name)]


def _norm(norm: nn.Module) -> Map:
    weight, eps = norm.weight, norm.variance_epsilon
    return lambda x: F.rms_norm(x.to(weight.dtype), weight.shape, weight, eps)  # under autocast heads are of 16 bits


def _linear(module: nn.Module) -> Map:
    """The module, or where it is a plain linear layer its function, which takes half as long to call."""
    plain = (
        type(module) is nn.Linear and type(module.weight) is nn.Parameter
    )  # a quantized weight is a tensor of its own kind
    if not plain or _is_changed(module):
        return module
    return partial(F.linear, weight=module.weight, bias=module.bias)


def _is_changed(module: nn.Module) -> bool:
    """Whether somebody looks at what goes into a module or comes out of it, as DeepSpeed and accelerate do, or replaced it."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))
