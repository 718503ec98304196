"""InternVL2 with InternLM2: the published folder to a semantic encoder and a Llama, loaded directly or converted.

InternLM2 computes what Llama computes; only its names differ, and query, key and value share the matrix ``wqkv``.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor, nn
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from lira_plugin.convert.fast_tokenizer import internlm2_tokenizer
from lira_plugin.convert.published import PUBLISHED
from lira_plugin.convert.safetensors_folder import SafetensorsFolder, read_config
from lira_plugin.convert.shards import write_shards
from lira_plugin.convert.tensor_rules import TensorRule, check_rules, read_targets
from lira_plugin.models.checkpoint import weights_left_out
from lira_plugin.models.semantic_encoder import SemanticEncoder

UNUSED = {r"language_model\..*\.rotary_emb\.inv_freq": "computed from rope_theta"}


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
    checkpoint = InternVLCheckpoint(path, published, obtain)
    config = checkpoint.llama_config(**settings)
    with init_empty_weights(include_buffers=False):
        model = LlamaForCausalLM(config)
    return checkpoint.fill(model, checkpoint.llm_rules(), dtype)


def semantic_encoder_from_internvl(
    path: str | Path,
    dtype: str | torch.dtype = torch.float32,
    published: str | None = None,
    obtain: str = "",
    **settings: Any,
) -> SemanticEncoder:
    """InternViT and ``mlp1`` of a published InternVL2 folder; a recipe names it as the ``type`` of its semantic encoder.

    Args:
        path: the folder.
        dtype: of the weights.
        published: see :class:`InternVLCheckpoint`.
        obtain: see :class:`InternVLCheckpoint`.
        settings: replace arguments of :class:`~lira_plugin.models.SemanticEncoder`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is of another model, or a tensor does not fit.
    """
    checkpoint = InternVLCheckpoint(path, published, obtain)
    # timm computes with numbers of the default device, which a meta tensor does not have.
    with torch.device("cpu"), init_empty_weights(include_buffers=False):
        encoder = SemanticEncoder(**{**checkpoint.semantic_encoder_args(), **settings})
    return checkpoint.fill(encoder, checkpoint.semantic_encoder_rules(), dtype).to(_dtype(dtype))


def convert_internvl(
    path: str | Path, out: str | Path, dtype: str | torch.dtype | None = None, shard_bytes: float = 2e9
) -> dict[str, str]:
    """Convert a published folder.

    ``out/llm`` is what ``AutoModelForCausalLM`` and ``AutoTokenizer`` read; ``out/semantic_encoder`` has the arguments of
    :class:`~lira_plugin.models.SemanticEncoder` in ``config.json`` and its weights in one file beside, for a recipe's
    ``init_from``. A run that broke off goes on where it was.

    Args:
        path: the published folder.
        out: folder to write to.
        dtype: of the output; None keeps that of the files.
        shard_bytes: of an output shard of the language model, which bounds the memory (the semantic encoder has 0.7 GB).

    Returns:
        Tensors that are not used, with the reason.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is of another model, or a tensor does not fit.
    """
    checkpoint, dtype, out = InternVLCheckpoint(path), _dtype(dtype), Path(out)
    folder, unused = checkpoint.open()
    tokenizer = internlm2_tokenizer(path)
    write_shards(checkpoint.semantic_encoder_rules(), folder, out / "semantic_encoder", dtype, inf)
    arguments = json.dumps(checkpoint.semantic_encoder_args(), indent=1)
    (out / "semantic_encoder" / "config.json").write_text(arguments + "\n")
    write_shards(checkpoint.llm_rules(), folder, out / "llm", dtype, shard_bytes)
    tokenizer.save_pretrained(out / "llm")
    config = checkpoint.llama_config(architectures=["LlamaForCausalLM"])
    config.torch_dtype = dtype or folder.infos["language_model.output.weight"].dtype
    GenerationConfig.from_model_config(config).save_pretrained(out / "llm")
    config.save_pretrained(out / "llm")
    return unused


class InternVLCheckpoint:
    """A published InternVL2 folder: what its configuration says, and the rules for its tensors.

    Args:
        path: folder with ``config.json``; the weights are not looked at before they are needed.
        published: name of a published model (:data:`~lira_plugin.convert.published.PUBLISHED`), whose sizes stand in for a folder
            that is not there while weights are left out (:func:`~lira_plugin.models.checkpoint.weights_left_out`).
        obtain: where the folder comes from, for the message when it is not there.

    Raises:
        FileNotFoundError: no ``config.json``.
        ValueError: it is not of an InternVL2 with InternViT-300M's kind of encoder and InternLM2.
    """

    def __init__(self, path: str | Path, published: str | None = None, obtain: str = "") -> None:
        self.path = Path(path)
        config = self._config(published, obtain)
        self.vision, self.llm = config.get("vision_config", {}), config.get("llm_config", {})
        llm_architecture = (self.llm.get("architectures") or ["none"])[0]
        self._expect(config, "", model_type="internvl_chat", ps_version="v2", select_layer=-1)
        self._expect({"architecture": llm_architecture}, "llm_config.", architecture="InternLM2ForCausalLM")
        self._expect(self.llm, "llm_config.", hidden_act="silu", bias=False, tie_word_embeddings=False)
        vision = {"hidden_act": "gelu", "qkv_bias": True, "qk_normalization": False, "norm_type": "layer_norm"}
        self._expect(self.vision, "vision_config.", **vision, layer_norm_eps=1e-6)
        self.shuffle = round(1 / config["downsample_ratio"])
        heads = self.llm["num_attention_heads"]
        self.kv_heads = self.llm.get("num_key_value_heads") or heads
        self.queries = heads // self.kv_heads
        self.fused_rows = (heads + 2 * self.kv_heads) * (self.llm["hidden_size"] // heads)

    def _config(self, published: str | None, obtain: str) -> dict[str, Any]:
        try:
            return read_config(self.path)
        except FileNotFoundError as error:
            if published is None or not weights_left_out():
                raise FileNotFoundError(f"{error}; {obtain}" if obtain else str(error)) from None
        return PUBLISHED[published]

    def _expect(self, found: Mapping[str, Any], where: str, **expected: Any) -> None:
        """Settings that would change the computation; absent ones have these values in the published code."""
        for name, value in expected.items():
            if found.get(name, value) != value or (name == "model_type" and name not in found):
                raise ValueError(
                    f"{self.path}/config.json has {where}{name}={found.get(name)!r}, expected {value!r}: supported are "
                    "InternVL2-2B, InternVL2-8B and others of InternViT-300M and InternLM2"
                )

    def llama_config(self, **settings: Any) -> LlamaConfig:
        """The language model's configuration."""
        names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        names += ("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "initializer_range")
        names += ("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings")
        values = {name: self.llm[name] for name in names if name in self.llm}
        scaling = self.llm.get("rope_scaling")
        if scaling:
            values["rope_scaling"] = {"rope_type": scaling["type"], "factor": scaling["factor"]}
        return LlamaConfig(**{"tie_word_embeddings": False, **values, **settings})

    def semantic_encoder_args(self) -> dict[str, Any]:
        """Arguments of the :class:`~lira_plugin.models.SemanticEncoder` that holds InternViT and ``mlp1``."""
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

    def rules(self) -> list[TensorRule]:
        """For every tensor of the folder."""
        return [*self.semantic_encoder_rules(), *self.llm_rules()]

    def semantic_encoder_rules(self) -> list[TensorRule]:
        """InternViT and ``mlp1`` to the names of :class:`~lira_plugin.models.SemanticEncoder`."""
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
            rules += [TensorRule(f"{source}ls{number}", (width,), (f"{target}ls{number}.gamma",)) for number in (1, 2)]
            shapes = {"norm1": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width), "norm2": (width,)}
            shapes |= {"mlp.fc1": (wide, width), "mlp.fc2": (width, wide)}
            for name, shape in shapes.items():
                rules += affine(source + name, target + name, shape)
        for number, shape in {0: (folded,), 1: (hidden, folded), 3: (hidden, hidden)}.items():
            rules += affine(f"mlp1.{number}", f"projector.{number}", shape)
        return rules

    def llm_rules(self) -> list[TensorRule]:
        """InternLM2 to the names of :class:`~transformers.LlamaForCausalLM`."""
        hidden, wide, words = (self.llm[name] for name in ("hidden_size", "intermediate_size", "vocab_size"))
        split = partial(split_wqkv, kv_heads=self.kv_heads, queries=self.queries)
        rules = [_rename("language_model.model.tok_embeddings", "model.embed_tokens", (words, hidden))]
        for layer in range(self.llm["num_hidden_layers"]):
            source, target = f"language_model.model.layers.{layer}.", f"model.layers.{layer}."
            qkv = tuple(f"{target}self_attn.{name}_proj.weight" for name in "qkv")
            rules += [
                TensorRule(f"{source}attention.wqkv.weight", (self.fused_rows, hidden), qkv, split),
                _rename(f"{source}attention.wo", f"{target}self_attn.o_proj", (hidden, hidden)),
                _rename(f"{source}feed_forward.w1", f"{target}mlp.gate_proj", (wide, hidden)),
                _rename(f"{source}feed_forward.w3", f"{target}mlp.up_proj", (wide, hidden)),
                _rename(f"{source}feed_forward.w2", f"{target}mlp.down_proj", (hidden, wide)),
                _rename(f"{source}attention_norm", f"{target}input_layernorm", (hidden,)),
                _rename(f"{source}ffn_norm", f"{target}post_attention_layernorm", (hidden,)),
            ]
        rules.append(_rename("language_model.model.norm", "model.norm", (hidden,)))
        rules.append(_rename("language_model.output", "lm_head", (words, hidden)))
        return rules

    def open(self) -> tuple[SafetensorsFolder, dict[str, str]]:
        """The weights, checked as a whole, and the unused tensors with the reason."""
        folder = SafetensorsFolder(self.path)
        return folder, check_rules(self.rules(), folder.infos, str(self.path), UNUSED)

    def fill(self, module: nn.Module, rules: Sequence[TensorRule], dtype: str | torch.dtype) -> nn.Module:
        """Give an empty module its weights, one tensor at a time; on the meta device it stays empty."""
        if weights_left_out():
            return module.to(_dtype(dtype))
        folder, _ = self.open()
        # A copy, as a view of the file would change or vanish with it.
        state = {name: part.clone() for name, part in read_targets(rules, folder, _dtype(dtype))}
        module.load_state_dict(state, assign=True)
        return module


def split_wqkv(weight: Tensor, kv_heads: int, queries: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of query, key and value out of the fused rows, which are grouped by key head.

    Args:
        weight: (kv_heads * (queries + 2) * head_dim, ...): for each key head its ``queries`` query heads, the key head, the
            value head.
        kv_heads: number of key heads.
        queries: query heads that share a key head.
    """
    groups = weight.unflatten(0, (kv_heads, queries + 2, -1))
    query, key, value = groups.split((queries, 1, 1), dim=1)
    return query.flatten(0, 2), key.flatten(0, 2), value.flatten(0, 2)


def join_wqkv(parts: Sequence[Tensor], kv_heads: int, queries: int) -> Tensor:
    """Undo :func:`split_wqkv`: query, key and value to the fused rows."""
    heads = (queries, 1, 1)
    groups = [part.unflatten(0, (kv_heads, number, -1)) for part, number in zip(parts, heads, strict=True)]
    return torch.cat(groups, 1).flatten(0, 2)


def _rename(source: str, target: str, shape: tuple[int, ...]) -> TensorRule:
    return TensorRule(f"{source}.weight", shape, (f"{target}.weight",))


def affine(source: str, target: str, shape: tuple[int, ...]) -> list[TensorRule]:
    """Weight and bias of a layer; the weight's shape is given."""
    return [_rename(source, target, shape), TensorRule(f"{source}.bias", shape[:1], (f"{target}.bias",))]


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    return getattr(torch, dtype) if isinstance(dtype, str) else dtype
