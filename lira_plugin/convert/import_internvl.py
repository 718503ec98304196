"""InternVL2 with InternLM2: the published folder to a semantic encoder and a Llama, loaded directly or converted.

InternLM2 computes what Llama computes; only its names differ, and query, key and value share the matrix ``wqkv``.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lira_plugin.convert.fast_tokenizer import internlm2_tokenizer
from lira_plugin.convert.published_model import PublishedModel
from lira_plugin.convert.tensor_rules import TensorRule, affine, weight_only
from lira_plugin.models import InternViTEncoder


def llama_from_internvl(
    path: str | Path,
    dtype: str | torch.dtype = torch.float32,
    published: str | None = None,
    obtain: str = "",
    **settings: Any,
) -> LlamaForCausalLM:
    """The language model of a published InternVL2 folder; a recipe names it as the ``type`` of its LLM.

    On the meta device (``with torch.device("meta")``) only ``config.json`` is read, or not even that with ``published``.

    Args:
        path: the folder.
        dtype: of the weights.
        published: see :class:`InternVLCheckpoint`.
        obtain: see :class:`InternVLCheckpoint`.
        settings: replace those of the :class:`~transformers.LlamaConfig`, such as ``attn_implementation``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is of another model, or a tensor does not fit.
    """
    return InternVLCheckpoint(path, published, obtain).load_llm(dtype, **settings)


def semantic_encoder_from_internvl(
    path: str | Path,
    dtype: str | torch.dtype = torch.float32,
    published: str | None = None,
    obtain: str = "",
    **settings: Any,
) -> InternViTEncoder:
    """InternViT and ``mlp1`` of a published InternVL2 folder; a recipe names it as the ``type`` of its semantic encoder.

    Args:
        path: the folder.
        dtype: of the weights.
        published: see :class:`InternVLCheckpoint`.
        obtain: see :class:`InternVLCheckpoint`.
        settings: replace arguments of :class:`~lira_plugin.models.InternViTEncoder`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is of another model, or a tensor does not fit.
    """
    return InternVLCheckpoint(path, published, obtain).load_semantic_encoder(dtype, **settings)


def convert_internvl(
    path: str | Path, out: str | Path, dtype: str | torch.dtype | None = None, shard_bytes: float = 2e9
) -> dict[str, str]:
    """Convert a published folder.

    Args:
        path: the published folder.
        out, dtype, shard_bytes: see :meth:`~lira_plugin.convert.published_model.PublishedModel.convert`.

    Returns:
        Tensors that are not used, with the reason.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is of another model, or a tensor does not fit.
    """
    return InternVLCheckpoint(path).convert(out, dtype, shard_bytes)


class InternVLCheckpoint(PublishedModel):
    """A published InternVL2 folder with InternViT-300M's kind of encoder and InternLM2; arguments as of the base class.

    Raises:
        FileNotFoundError: no ``config.json``.
        ValueError: it is of something else.
    """

    supported = "InternVL2-2B, InternVL2-8B and others of InternViT-300M and InternLM2"
    unused = {r"language_model\..*\.rotary_emb\.inv_freq": "computed from rope_theta"}
    llm_class, encoder_class = LlamaForCausalLM, InternViTEncoder

    def __init__(self, path: str | Path, published: str | None = None, obtain: str = "") -> None:
        super().__init__(path, published, obtain)
        self.vision, self.llm = self.config.get("vision_config", {}), self.config.get("llm_config", {})
        llm_architecture = (self.llm.get("architectures") or ["none"])[0]
        self.expect(self.config, "", model_type="internvl_chat", ps_version="v2", select_layer=-1)
        self.expect({"architecture": llm_architecture}, "llm_config.", architecture="InternLM2ForCausalLM")
        self.expect(self.llm, "llm_config.", hidden_act="silu", bias=False, tie_word_embeddings=False)
        vision = {"hidden_act": "gelu", "qkv_bias": True, "qk_normalization": False, "norm_type": "layer_norm"}
        self.expect(self.vision, "vision_config.", **vision, layer_norm_eps=1e-6)
        self.shuffle = round(1 / self.config["downsample_ratio"])
        heads = self.llm["num_attention_heads"]
        self.kv_heads = self.llm.get("num_key_value_heads") or heads
        self.queries = heads // self.kv_heads
        self.fused_rows = (heads + 2 * self.kv_heads) * (self.llm["hidden_size"] // heads)

    def llm_config(self, **settings: Any) -> LlamaConfig:
        """The language model's configuration."""
        names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        names += ("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "initializer_range")
        names += ("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings")
        values = {name: self.llm[name] for name in names if name in self.llm}
        scaling = self.llm.get("rope_scaling")
        if scaling:
            values["rope_scaling"] = {"rope_type": scaling["type"], "factor": scaling["factor"]}
        return LlamaConfig(**{"tie_word_embeddings": False, **values, **settings})

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """InternLM2's."""
        return internlm2_tokenizer(self.path)

    def semantic_encoder_args(self) -> dict[str, Any]:
        """Arguments of the :class:`~lira_plugin.models.InternViTEncoder` that holds InternViT and ``mlp1``."""
        return {
            "hidden_size": self.llm["hidden_size"],
            "vit": "vit_intern300m_patch14_448",
            "shuffle": self.shuffle,
            "vit_args": {
                "img_size": self.vision["image_size"],
                "patch_size": self.vision["patch_size"],
                "embed_dim": self.vision["hidden_size"],
                "depth": self.vision["num_hidden_layers"],
                "num_heads": self.vision["num_attention_heads"],
                "mlp_ratio": self.vision["intermediate_size"] / self.vision["hidden_size"],
                "drop_path_rate": self.vision.get("drop_path_rate", 0.0),
            },
        }

    def semantic_encoder_rules(self) -> list[TensorRule]:
        """InternViT and ``mlp1`` to the names of :class:`~lira_plugin.models.InternViTEncoder`."""
        width, wide = self.vision["hidden_size"], self.vision["intermediate_size"]
        patch, grid = self.vision["patch_size"], self.vision["image_size"] // self.vision["patch_size"]
        folded, hidden = width * self.shuffle**2, self.llm["hidden_size"]
        rules = [
            TensorRule("vision_model.embeddings.class_embedding", (1, 1, width), ("vit.cls_token",)),
            TensorRule("vision_model.embeddings.position_embedding", (1, grid**2 + 1, width), ("vit.pos_embed",)),
            *affine("vision_model.embeddings.patch_embedding", "vit.patch_embed.proj", (width, 3, patch, patch)),
        ]
        for layer in range(self.vision["num_hidden_layers"]):
            source, target = f"vision_model.encoder.layers.{layer}.", f"vit.blocks.{layer}."
            rules += [TensorRule(f"{source}ls{index}", (width,), (f"{target}ls{index}.gamma",)) for index in (1, 2)]
            shapes = {"norm1": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width), "norm2": (width,)}
            shapes |= {"mlp.fc1": (wide, width), "mlp.fc2": (width, wide)}
            for name, shape in shapes.items():
                rules += affine(source + name, target + name, shape)
        for index, shape in {0: (folded,), 1: (hidden, folded), 3: (hidden, hidden)}.items():
            rules += affine(f"mlp1.{index}", f"projector.{index}", shape)
        return rules

    def llm_rules(self) -> list[TensorRule]:
        """InternLM2 to the names of :class:`~transformers.LlamaForCausalLM`."""
        hidden, wide, words = (self.llm[name] for name in ("hidden_size", "intermediate_size", "vocab_size"))
        split = partial(split_wqkv, kv_heads=self.kv_heads, queries=self.queries)
        rules = [weight_only("language_model.model.tok_embeddings", "model.embed_tokens", (words, hidden))]
        for layer in range(self.llm["num_hidden_layers"]):
            source, target = f"language_model.model.layers.{layer}.", f"model.layers.{layer}."
            qkv = tuple(f"{target}self_attn.{name}_proj.weight" for name in "qkv")
            rules += [
                TensorRule(f"{source}attention.wqkv.weight", (self.fused_rows, hidden), qkv, split),
                weight_only(f"{source}attention.wo", f"{target}self_attn.o_proj", (hidden, hidden)),
                weight_only(f"{source}feed_forward.w1", f"{target}mlp.gate_proj", (wide, hidden)),
                weight_only(f"{source}feed_forward.w3", f"{target}mlp.up_proj", (wide, hidden)),
                weight_only(f"{source}feed_forward.w2", f"{target}mlp.down_proj", (hidden, wide)),
                weight_only(f"{source}attention_norm", f"{target}input_layernorm", (hidden,)),
                weight_only(f"{source}ffn_norm", f"{target}post_attention_layernorm", (hidden,)),
            ]
        rules.append(weight_only("language_model.model.norm", "model.norm", (hidden,)))
        rules.append(weight_only("language_model.output", "lm_head", (words, hidden)))
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
