"""The released LIRA fine-tune (``LIRA-2B.pth``, ``LIRA-8B.pth``) to the names of our :class:`~lira_plugin.models.LIRA`, and back.

The file holds what was trained (``omg_llava/model/lira.py:357-427``): the adapters, embeddings and head of the LLM, SEFE's
projections and the projection of the ``<seg>`` states; everything else comes from the InternVL2 folder and the OMG-Seg files.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from lira_plugin.checkpoint.files import weights_path, write_state_dict
from lira_plugin.convert.import_internvl import InternVLCheckpoint
from lira_plugin.convert.llm_families import FAMILIES
from lira_plugin.convert.tensor_rules import TensorRule, affine, check_rules, check_targets, read_targets
from lira_plugin.convert.torch_file import TorchFile
from lira_plugin.convert.wqkv_adapter import wqkv_adapter

NEW_TOKENS = 6  # [SEG] <p> </p> <region> <mark> <image_id>
SOURCE_LLM, LLM = "llm.base_model.model.", "llm.model.base_model.model."
LINEARS = {
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w3": "mlp.up_proj",
    "feed_forward.w2": "mlp.down_proj",
}


@dataclass(frozen=True)
class Sizes:
    """What the checkpoint says of itself, as no configuration of it is published."""

    rank: int
    """Of the adapters."""
    wqkv_rank: int
    """Of the adapter of ``wqkv``."""
    backbone: int
    """Channels of the last backbone stage."""
    objects: int
    """Channels of an object query."""
    pixels: int
    """Channels of a pixel token."""

    @classmethod
    def of_released(cls, source: TorchFile) -> "Sizes":
        """Read off a released file."""
        layer = f"{SOURCE_LLM}model.layers.0.attention."
        wqkv_rank, rank = (source.shape(f"{layer}{name}.lora_A.default.weight")[0] for name in ("wqkv", "wo"))
        projections = (source.shape(f"projector.model.{name}.weight") for name in ("query_proj", "model_feat.0"))
        (backbone, objects), (_, pixels) = projections
        return cls(rank, wqkv_rank, backbone, objects, pixels)

    @classmethod
    def of_ours(cls, source: TorchFile, stack: bool) -> "Sizes":
        """Read off a checkpoint of the recipe; see :func:`export_lira` for ``stack``."""
        expected = "a checkpoint of the LoRA fine-tune, with SEFE,"
        rank, _ = source.shape(f"{LLM}model.layers.0.self_attn.o_proj.lora_A.default.weight", expected)
        backbone, objects = source.shape("sefe.query_proj.weight", expected)
        _, pixels = source.shape("sefe.pixel_proj.0.weight", expected)
        return cls(rank, 3 * rank if stack else rank, backbone, objects, pixels)


def convert_lira(weights: str | Path, internvl: str | Path, out: str | Path) -> Path:
    """Convert a released fine-tune into a checkpoint to test, to ask, or to go on from (``load_from``).

    The adapter of ``wqkv`` becomes three of the same rank: A is theirs in common, the rows of B are split as those of ``wqkv``
    are. So rank and alpha stay, and the model computes the same. What :func:`export_lira` stacked is taken apart again.

    Args:
        weights: the released file.
        internvl: the InternVL2 folder that the fine-tune started from; its ``config.json`` tells how rows are grouped.
        out: file to write, ``.pth`` or ``.safetensors``; ``xtuner test`` and ``load_from`` read the former only.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the file holds code, is cut off, or does not have the expected tensors.
    """
    source, out = TorchFile(weights), weights_path(out)
    rules = lira_rules(InternVLCheckpoint(internvl), Sizes.of_released(source))
    check_rules(rules, source.infos, str(weights))
    return write_state_dict(dict(read_targets(tqdm(rules, desc=out.name), source)), out)


def export_lira(weights: str | Path, internvl: str | Path, out: str | Path, stack: bool = False) -> Path:
    """Convert a checkpoint of our fine-tune into the layout of the released files; :func:`convert_lira` undoes it, bit by bit.

    The released layout has one adapter for ``wqkv``. Query, key and value then need the same matrix A, as they have it where
    the recipe says ``shared_inputs`` (as ours do). Three matrices A fit all the same, and exactly, with ``stack``: they stand on
    top of each other, and B has three blocks, so the adapter of ``wqkv`` has three times the rank. To load it, the released
    code's ``LoraConfig`` needs ``rank_pattern={"wqkv": 3 * r}`` and ``alpha_pattern={"wqkv": 3 * lora_alpha}``.

    Args:
        weights: checkpoint or work dir of a fine-tune with LoRA and ``train_embeddings``.
        internvl: the InternVL2 folder that the fine-tune started from.
        out: file to write, such as ``LIRA-2B.pth``.
        stack: write one adapter of three times the rank for ``wqkv``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the checkpoint has tensors that the released layout has no place for, such as a decoder of its own, or lacks
            some; or the matrices A of a layer differ, without ``stack``.
    """
    source, out = TorchFile(weights), weights_path(out)
    if own := [name for name in source.infos if name.startswith("mask_decoder.decoder.")]:
        raise ValueError(
            f"{weights} has a mask decoder of its own ({len(own)} tensors, {own[0]}, ...), for which the released layout has no "
            "place: its masks are decoded with OMG-Seg's weights; export a model trained with mask_decoder.decoder='shared'"
        )
    rules = lira_rules(InternVLCheckpoint(internvl), Sizes.of_ours(source, stack))
    check_targets(rules, source.infos, str(weights))
    state = {}
    for rule in tqdm(rules, desc=out.name):
        try:
            state[rule.source] = rule.join([source.read(name) for name in rule.targets])
        except ValueError as error:
            raise ValueError(f"{weights}: {', '.join(rule.targets)}: {error}") from error
    return write_state_dict(state, out)


def lira_rules(base: InternVLCheckpoint, sizes: Sizes) -> list[TensorRule]:
    """For every tensor of the released file.

    Raises:
        ValueError: the folder's LLM is no InternLM2, which all released files are of.
    """
    if base.family is not FAMILIES["InternLM2ForCausalLM"]:
        raise ValueError(
            f"{base.path} has a {base.family.architecture} as LLM, and the released layout is of InternLM2: give InternVL2-2B "
            "or -8B, or a fine-tune of it"
        )
    hidden, words = base.llm["hidden_size"], base.llm["vocab_size"] + NEW_TOKENS
    return [*_llm_rules(base, sizes, hidden, words), *_projector_rules(sizes, hidden)]


def _llm_rules(base: InternVLCheckpoint, sizes: Sizes, hidden: int, words: int) -> list[TensorRule]:
    rank = sizes.rank
    rules = [
        TensorRule(f"{SOURCE_LLM}model.tok_embeddings.weight", (words, hidden), (f"{LLM}model.embed_tokens.weight",)),
        TensorRule(f"{SOURCE_LLM}output.base_layer.weight", (words, hidden), (f"{LLM}lm_head.base_layer.weight",)),
        *_adapter(f"{SOURCE_LLM}output", f"{LLM}lm_head", rank, (words, hidden)),
    ]
    wide = base.llm["intermediate_size"]
    shapes = {"w1": (wide, hidden), "w3": (wide, hidden), "w2": (hidden, wide), "wo": (hidden, hidden)}
    for layer in range(base.llm["num_hidden_layers"]):
        theirs, ours = f"{SOURCE_LLM}model.layers.{layer}.", f"{LLM}model.layers.{layer}."
        rules += wqkv_adapter(base, f"{theirs}attention.wqkv", f"{ours}self_attn.", rank, sizes.wqkv_rank)
        for source_name, target in LINEARS.items():
            rules += _adapter(theirs + source_name, ours + target, rank, shapes[source_name.split(".")[1]])
    return rules


def _projector_rules(sizes: Sizes, hidden: int) -> list[TensorRule]:
    projector, attention = "projector.model.", "projector.model.cross_beforellm."
    backbone, objects, pixels = sizes.backbone, sizes.objects, sizes.pixels
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
        source, target = f"{projector}{theirs}.weight", f"sefe.{ours}"
        rules.append(TensorRule(source, (1, hidden), (target,), torch.unbind, torch.stack))
    return rules


def _adapter(source: str, target: str, rank: int, shape: tuple[int, int]) -> list[TensorRule]:
    """Both matrices of a LoRA adapter of a linear layer with a weight of ``shape``."""
    rows, columns = shape
    return [
        TensorRule(f"{source}.lora_{matrix}.default.weight", size, (f"{target}.lora_{matrix}.default.weight",))
        for matrix, size in {"A": (rank, columns), "B": (rows, rank)}.items()
    ]
