"""The released LIRA fine-tune (``LIRA-2B.pth``, ``LIRA-8B.pth``) to the names of our :class:`~lira_plugin.models.LIRA`.

The file holds what was trained (facts, section 5): the adapters, embeddings and head of the LLM, SEFE's projections and the
projection of the ``<seg>`` states; everything else comes from the InternVL2 folder and the OMG-Seg files.
"""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from lira_plugin.convert.internvl import InternVLCheckpoint, split_wqkv
from lira_plugin.convert.shards import write_shards
from lira_plugin.convert.tensor_rules import TensorRule, affine, check_rules
from lira_plugin.convert.torch_file import TorchFile

NEW_TOKENS = 6  # [SEG] <p> </p> <region> <mark> <image_id>
SOURCE_LLM, LLM = "llm.base_model.model.", "llm.model.base_model.model."
LINEARS = {
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w3": "mlp.up_proj",
    "feed_forward.w2": "mlp.down_proj",
}


def convert_lira(weights: str | Path, internvl: str | Path, out: str | Path) -> Path:
    """Convert a released fine-tune into one safetensors file, to test, to ask, or to go on from (``load_from``).

    The adapter of ``wqkv`` becomes three of the same rank: A is theirs in common, the rows of B are split as those of ``wqkv``
    are. So rank and alpha stay, and the model computes the same.

    Args:
        weights: the released file.
        internvl: the InternVL2 folder that the fine-tune started from; its ``config.json`` tells how rows are grouped.
        out: folder for ``model.safetensors``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the file holds code, is cut off, or does not have the expected tensors.
    """
    source = TorchFile(weights)
    rules = lira_rules(InternVLCheckpoint(internvl), source)
    check_rules(rules, source.infos, str(weights))
    (path,) = write_shards(rules, source, out, shard_bytes=float("inf"))
    return path


def lira_rules(base: InternVLCheckpoint, source: TorchFile) -> list[TensorRule]:
    """For every tensor of the file; rank and widths of the projections are the file's own."""
    hidden, words = base.llm["hidden_size"], base.llm["vocab_size"] + NEW_TOKENS
    return [*_llm_rules(base, source, hidden, words), *_projector_rules(source, hidden)]


def _llm_rules(base: InternVLCheckpoint, source: TorchFile, hidden: int, words: int) -> list[TensorRule]:
    first = f"{SOURCE_LLM}model.layers.0.attention.wqkv.lora_A.default.weight"
    (rank, _) = source.shape(first)
    fused = base.fused_rows
    rules = [
        TensorRule(f"{SOURCE_LLM}model.tok_embeddings.weight", (words, hidden), (f"{LLM}model.embed_tokens.weight",)),
        TensorRule(f"{SOURCE_LLM}output.base_layer.weight", (words, hidden), (f"{LLM}lm_head.base_layer.weight",)),
        *_adapter(f"{SOURCE_LLM}output", f"{LLM}lm_head", rank, (words, hidden)),
    ]
    wide = base.llm["intermediate_size"]
    shapes = {"w1": (wide, hidden), "w3": (wide, hidden), "w2": (hidden, wide), "wo": (hidden, hidden)}
    for layer in range(base.llm["num_hidden_layers"]):
        theirs, ours = f"{SOURCE_LLM}model.layers.{layer}.", f"{LLM}model.layers.{layer}."
        split = partial(split_wqkv, kv_heads=base.kv_heads, queries=base.queries)
        names = [[f"{ours}self_attn.{part}_proj.lora_{matrix}.default.weight" for part in "qkv"] for matrix in "AB"]
        wqkv = f"{theirs}attention.wqkv.lora_"
        rules += [
            TensorRule(f"{wqkv}A.default.weight", (rank, hidden), tuple(names[0]), _three_times),
            TensorRule(f"{wqkv}B.default.weight", (fused, rank), tuple(names[1]), split),
        ]
        for source_name, target in LINEARS.items():
            rules += _adapter(theirs + source_name, ours + target, rank, shapes[source_name.split(".")[1]])
    return rules


def _projector_rules(source: TorchFile, hidden: int) -> list[TensorRule]:
    projector, attention = "projector.model.", "projector.model.cross_beforellm."
    backbone, objects = source.shape(f"{projector}query_proj.weight")
    _, pixels = source.shape(f"{projector}model_feat.0.weight")
    states = "projector_text2vision.model."
    rules = [
        *affine(f"{projector}query_proj", "sefe.query_proj", (backbone, objects)),
        *affine(f"{projector}model.0", "sefe.object_proj.0", (hidden, backbone)),
        *affine(f"{projector}model.2", "sefe.object_proj.2", (hidden, hidden)),
        *affine(f"{projector}model_feat.0", "sefe.pixel_proj.0", (hidden, pixels)),
        *affine(f"{projector}model_feat.2", "sefe.pixel_proj.2", (hidden, hidden)),
        *affine(f"{states}0", "mask_decoder.state_proj.0", (objects, hidden)),
        *affine(f"{states}2", "mask_decoder.state_proj.2", (objects, objects)),
        *affine(f"{attention}norm1", "sefe.enrich.norm_query", (hidden,)),
        *affine(f"{attention}norm2", "sefe.enrich.norm_context", (hidden,)),
        *affine(f"{attention}multihead_attn.out_proj", "sefe.enrich.attention.out_proj", (hidden, hidden)),
    ]
    for name, shape in {"in_proj_weight": (3 * hidden, hidden), "in_proj_bias": (3 * hidden,)}.items():
        rules.append(TensorRule(f"{attention}multihead_attn.{name}", shape, (f"sefe.enrich.attention.{name}",)))
    for theirs, ours in {"seperate_embed_internvl": "semantic_separator", "seperate_embed": "pixel_separator"}.items():
        rules.append(TensorRule(f"{projector}{theirs}.weight", (1, hidden), (f"sefe.{ours}",), torch.unbind))
    return rules


def _adapter(source: str, target: str, rank: int, shape: tuple[int, int]) -> list[TensorRule]:
    """Both matrices of a LoRA adapter of a linear layer with a weight of ``shape``."""
    rows, columns = shape
    return [
        TensorRule(f"{source}.lora_{matrix}.default.weight", size, (f"{target}.lora_{matrix}.default.weight",))
        for matrix, size in {"A": (rank, columns), "B": (rows, rank)}.items()
    ]


def _three_times(tensor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return tensor, tensor.clone(), tensor.clone()  # safetensors does not store what shares its memory
