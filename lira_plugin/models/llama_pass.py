"""A pass of decoder layers like Llama's over a cache, with half of the calls that transformers makes for it.

A pass of a few tokens takes as long as it takes to call its operators. Here a norm is one, queries and keys are rotated
together, and the queries of a group (grouped-query attention, arXiv 2305.13245) are further positions of the head whose keys
they share: transformers repeats keys and values for them, and copies those that are a part of a larger store, in each layer.

Shape letters: B sequences, n new positions, L positions that are visible at most, H width, G key-value heads, g queries a
group, D width of a head.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Cache, LlamaModel, MistralModel, PreTrainedModel, Qwen2Model

Map = Callable[[Tensor], Tensor]


def is_like_llama(decoder: PreTrainedModel) -> bool:
    """Whether :class:`LlamaPass` does what the decoder stack itself would do: no part that it bypasses is wrapped or hooked."""
    if type(decoder) not in (LlamaModel, MistralModel, Qwen2Model):
        return False
    home = type(decoder).__module__

    def is_plain(*modules: nn.Module) -> bool:
        return all(type(module).__module__ == home and not _is_changed(module) for module in modules)

    return is_plain(decoder, decoder.norm, *decoder.layers) and all(
        is_plain(layer.self_attn, layer.mlp, layer.input_layernorm, layer.post_attention_layernorm)
        for layer in decoder.layers
    )


class LlamaPass:
    """Runs the layers of a decoder stack.

    Args:
        decoder: one that :func:`is_like_llama`. Its linear layers may be adapted or quantized.
    """

    def __init__(self, decoder: PreTrainedModel) -> None:
        self.rotary, self.norm = decoder.rotary_emb, _norm(decoder.norm)
        self.layers = [
            (
                _norm(layer.input_layernorm),
                _Attention(layer.self_attn),
                _norm(layer.post_attention_layernorm),
                _FeedForward(layer.mlp),
            )
            for layer in decoder.layers
        ]

    def __call__(self, embeddings: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """Run new positions.

        Args:
            embeddings: (B, n, H).
            mask: (B, 1, n, L), to be added to the scores of attention.
            positions: (B, n).
            cache: takes the keys and values of the new positions and gives those that are visible.

        Returns:
            (B, n, H) hidden states after the final norm, those of transformers up to rounding.
        """
        cos, sin = (wave[:, :, None] for wave in self.rotary(embeddings, positions))
        half = sin.shape[-1] // 2
        waves = cos, torch.cat([-sin[..., :half], sin[..., half:]], -1)
        hidden = embeddings
        for norm, attend, norm_behind, feed_forward in self.layers:
            hidden = hidden + attend(norm(hidden), waves, mask, cache)
            hidden = hidden + feed_forward(norm_behind(hidden))
        return self.norm(hidden)


class _Attention:
    def __init__(self, attention: nn.Module) -> None:
        self.query, self.key = _linear(attention.q_proj), _linear(attention.k_proj)
        self.value, self.out = _linear(attention.v_proj), _linear(attention.o_proj)
        self.group, self.width = attention.num_key_value_groups, attention.head_dim
        self.scale, self.layer = attention.scaling, attention.layer_idx

    def __call__(self, x: Tensor, waves: tuple[Tensor, Tensor], mask: Tensor, cache: Cache) -> Tensor:
        cos, sin = waves
        batch, new, _ = x.shape
        both = torch.cat([self.query(x), self.key(x)], -1).view(batch, new, -1, self.width)
        both = torch.addcmul(both * cos, both.roll(self.width // 2, -1), sin)
        values = self.value(x).view(batch, new, -1, self.width).transpose(1, 2)
        heads = values.shape[1]
        queries, keys = both[:, :, :-heads].transpose(1, 2), both[:, :, -heads:].transpose(1, 2)
        keys, values = cache.update(keys, values, self.layer)
        if self.group > 1:  # (B, G * g, n, D) to (B, G, g * n, D)
            queries, mask = queries.reshape(batch, heads, -1, self.width), mask.repeat(1, 1, self.group, 1)
        found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=self.scale)
        return self.out(found.reshape(batch, -1, new, self.width).transpose(1, 2).reshape(batch, new, -1))


class _FeedForward:
    def __init__(self, mlp: nn.Module) -> None:
        self.gate, self.up, self.down = _linear(mlp.gate_proj), _linear(mlp.up_proj), _linear(mlp.down_proj)
        self.activation = F.silu if type(mlp.act_fn) is nn.SiLU else mlp.act_fn

    def __call__(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.gate(x)) * self.up(x))


def _norm(norm: nn.Module) -> Map:
    weight, eps = norm.weight, norm.variance_epsilon
    return lambda x: F.rms_norm(x, weight.shape, weight, eps)


def _linear(module: nn.Module) -> Map:
    """The module, or where it is a plain linear layer its function, which takes half as long to call."""
    if type(module) is not nn.Linear or _is_changed(module):
        return module
    return partial(F.linear, weight=module.weight, bias=module.bias)


def _is_changed(module: nn.Module) -> bool:
    """Whether somebody looks at what goes into a module or comes out of it, as DeepSpeed and accelerate do, or replaced it."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))
