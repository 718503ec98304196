"""The decoder stacks of published LLMs: where each of their tensors goes.

Ours are named as in transformers' Llama, Qwen2 and Qwen3. InternLM2 computes what Llama computes; only its names differ, and
query, key and value share the matrix ``wqkv``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lira_plugin.convert.tensor_rules import TensorRule, affine, weight_only


@dataclass(frozen=True)
class DecoderNames:
    """What a family of LLMs calls its tensors, where it is not as ours."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    """Our names inside of the stack or of a layer, and the family's."""
    fused_qkv: str | None = None
    """A layer's matrix of query, key and value in one, with rows grouped by key head; None where there are three."""

    def __getitem__(self, name: str) -> str:
        return self.renamed.get(name, name)


LLAMA_NAMES = DecoderNames()
INTERNLM2_NAMES = DecoderNames(
    {
        "embed_tokens": "tok_embeddings",
        "lm_head": "output",
        "self_attn.o_proj": "attention.wo",
        "mlp.gate_proj": "feed_forward.w1",
        "mlp.up_proj": "feed_forward.w3",
        "mlp.down_proj": "feed_forward.w2",
        "input_layernorm": "attention_norm",
        "post_attention_layernorm": "ffn_norm",
    },
    fused_qkv="attention.wqkv",
)


@dataclass(frozen=True)
class AttentionShape:
    """Heads of an LLM's attention."""

    heads: int
    kv_heads: int
    head_size: int

    @classmethod
    def of(cls, llm: Mapping[str, Any]) -> "AttentionShape":
        """Read off the settings of an LLM; one that says no count of key heads has as many as query heads."""
        heads = llm["num_attention_heads"]
        head_size = llm.get("head_dim") or llm["hidden_size"] // heads
        return cls(heads, llm.get("num_key_value_heads") or heads, head_size)

    @property
    def queries(self) -> int:
        """Query heads that share a key head."""
        return self.heads // self.kv_heads

    @property
    def fused_rows(self) -> int:
        """Rows of query, key and value in one matrix."""
        return (self.heads + 2 * self.kv_heads) * self.head_size


def decoder_rules(
    llm: Mapping[str, Any],
    names: DecoderNames,
    qkv_bias: bool,
    stack: str,
    head: str,
    tied: bool = False,
    qk_norm: bool = False,
) -> list[TensorRule]:
    """Rules for every tensor of a causal LM.

    Args:
        llm: its settings, named as in transformers' configurations.
        names: what the family calls its tensors.
        qkv_bias: whether query, key and value have a bias.
        stack: prefix of the published names of the stack of layers.
        head: prefix of the published name of the head.
        tied: the head is the embedding, and has no tensor of its own.
        qk_norm: queries and keys are normalised in each head.
    """
    hidden, wide, words = (llm[name] for name in ("hidden_size", "intermediate_size", "vocab_size"))
    shape = AttentionShape.of(llm)
    layer_shapes = {
        "self_attn.o_proj": (hidden, shape.heads * shape.head_size),
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    if qk_norm:
        layer_shapes |= {f"self_attn.{letter}_norm": (shape.head_size,) for letter in "qk"}
    rules = [weight_only(stack + names["embed_tokens"], "model.embed_tokens", (words, hidden))]
    for layer in range(llm["num_hidden_layers"]):
        source, target = f"{stack}layers.{layer}.", f"model.layers.{layer}."
        rules += _qkv_rules(source, target, names, shape, hidden, qkv_bias)
        rules += [weight_only(source + names[name], target + name, size) for name, size in layer_shapes.items()]
    rules.append(weight_only(f"{stack}norm", "model.norm", (hidden,)))
    return rules if tied else [*rules, weight_only(head + names["lm_head"], "lm_head", (words, hidden))]


def _qkv_rules(
    source: str, target: str, names: DecoderNames, shape: AttentionShape, hidden: int, bias: bool
) -> list[TensorRule]:
    if names.fused_qkv:
        targets = tuple(f"{target}self_attn.{letter}_proj.weight" for letter in "qkv")
        split = partial(split_wqkv, kv_heads=shape.kv_heads, queries=shape.queries)
        return [TensorRule(f"{source}{names.fused_qkv}.weight", (shape.fused_rows, hidden), targets, split)]
    rules = []
    for letter, heads in {"q": shape.heads, "k": shape.kv_heads, "v": shape.kv_heads}.items():
        name, size = f"self_attn.{letter}_proj", (heads * shape.head_size, hidden)
        rules += (
            affine(source + name, target + name, size) if bias else [weight_only(source + name, target + name, size)]
        )
    return rules


def split_wqkv(weight: Tensor, kv_heads: int, queries: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of query, key and value out of the fused rows, which are grouped by key head.

    Args:
        weight: (kv_heads * (queries + 2) * head_dim, ...): for each key head its ``queries`` query heads, the key head, the
            value head.
        kv_heads: count of key heads.
        queries: query heads that share a key head.
    """
    groups = weight.unflatten(0, (kv_heads, queries + 2, -1))
    query, key, value = groups.split((queries, 1, 1), dim=1)
    return query.flatten(0, 2), key.flatten(0, 2), value.flatten(0, 2)


def join_wqkv(parts: Sequence[Tensor], kv_heads: int, queries: int) -> Tensor:
    """Undo :func:`split_wqkv`: query, key and value to the fused rows."""
    heads = (queries, 1, 1)
    groups = [part.unflatten(0, (kv_heads, count, -1)) for part, count in zip(parts, heads, strict=True)]
    return torch.cat(groups, 1).flatten(0, 2)
