"""Qwen2-VL: the published folder to a semantic encoder and a Qwen2, loaded directly or converted.

The language model is a Qwen2 whose rotary positions have three axes (time, row, column), each for a section of a head. In text
they are equal on all three, and then it is Qwen2's plain rotary position. LIRA's sequence interleaves text with image features
that share no grid (tiles, pixels, objects, views of regions) and counts all positions in one line: those of images have plain
positions here.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2TokenizerFast, Qwen2VLConfig

from lira_plugin.checkpoint.files import missing
from lira_plugin.convert.published_model import PublishedModel
from lira_plugin.convert.tensor_rules import TensorRule, affine, weight_only
from lira_plugin.models import Qwen2VLEncoder


def qwen2_from_qwen2_vl(
    path: str | Path,
    dtype: str | torch.dtype = torch.float32,
    published: str | None = None,
    obtain: str = "",
    **settings: Any,
) -> Qwen2ForCausalLM:
    """The language model of a published Qwen2-VL folder; a recipe names it as the ``type`` of its LLM.

    On the meta device (``with torch.device("meta")``) only ``config.json`` is read, or not even that with ``published``.

    Args:
        path: the folder.
        dtype: of the weights.
        published: see :class:`~lira_plugin.convert.published_model.PublishedModel`.
        obtain: see :class:`~lira_plugin.convert.published_model.PublishedModel`.
        settings: replace those of the :class:`~transformers.Qwen2Config`, such as ``attn_implementation``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is of another model, or a tensor does not fit.
    """
    return Qwen2VLCheckpoint(path, published, obtain).load_llm(dtype, **settings)


def semantic_encoder_from_qwen2_vl(
    path: str | Path,
    dtype: str | torch.dtype = torch.float32,
    published: str | None = None,
    obtain: str = "",
    **settings: Any,
) -> Qwen2VLEncoder:
    """Vision tower and merger of a published Qwen2-VL folder; a recipe names it as the ``type`` of its semantic encoder.

    Args:
        path: the folder.
        dtype: of the weights.
        published: see :class:`~lira_plugin.convert.published_model.PublishedModel`.
        obtain: see :class:`~lira_plugin.convert.published_model.PublishedModel`.
        settings: replace arguments of :class:`~lira_plugin.models.Qwen2VLEncoder`, such as ``tile_size``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is of another model, or a tensor does not fit.
    """
    return Qwen2VLCheckpoint(path, published, obtain).load_semantic_encoder(dtype, **settings)


def qwen2_tokenizer(path: str | Path, obtain: str = "") -> Qwen2TokenizerFast:
    """The tokenizer of a Qwen2 or Qwen2-VL folder; a recipe names it as the tokenizer's ``type``.

    Args:
        path: folder with ``tokenizer_config.json``, and ``tokenizer.json`` or ``vocab.json`` with ``merges.txt``.
        obtain: where the folder comes from, for the message when it is not there.

    Raises:
        FileNotFoundError: a file is missing.
    """
    folder = Path(path)
    whole = (folder / "tokenizer.json").is_file()
    for name in ("tokenizer_config.json", *(() if whole else ("vocab.json", "merges.txt"))):
        if not (folder / name).is_file():
            raise FileNotFoundError(missing(folder / name, obtain))
    return Qwen2TokenizerFast.from_pretrained(folder)


def convert_qwen2_vl(
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
    return Qwen2VLCheckpoint(path).convert(out, dtype, shard_bytes)


class Qwen2VLCheckpoint(PublishedModel):
    """A published Qwen2-VL folder (2B, 7B, 72B); arguments as of the base class.

    Raises:
        FileNotFoundError: no ``config.json``.
        ValueError: it is of something else.
    """

    supported = "Qwen2-VL folders as they are published"
    llm_class, encoder_class = Qwen2ForCausalLM, Qwen2VLEncoder

    def __init__(self, path: str | Path, published: str | None = None, obtain: str = "") -> None:
        super().__init__(path, published, obtain)
        # Newer versions of transformers write text_config, and other names of tensors with it.
        self.expect(
            self.config, "", model_type="qwen2_vl", hidden_act="silu", use_sliding_window=False, text_config=None
        )
        rope = self.config.get("rope_scaling") or {}
        if rope.get("type", rope.get("rope_type")) != "default":  # transformers renames mrope when it writes a folder
            self.expect(rope, "rope_scaling.", type="mrope")
        self.llm = Qwen2VLConfig(**deepcopy(self.config))  # it changes the dictionaries that it is given
        self.vision = self.llm.vision_config
        self.expect(self.vision.to_dict(), "vision_config.", hidden_act="quick_gelu", hidden_size=self.llm.hidden_size)
        if self.llm.tie_word_embeddings:
            self.unused = {r"lm_head\.weight": "tied to model.embed_tokens.weight"}

    def llm_config(self, **settings: Any) -> Qwen2Config:
        """The language model's configuration."""
        names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        names += ("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "initializer_range")
        names += ("bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings", "attention_dropout")
        return Qwen2Config(**{**{name: getattr(self.llm, name) for name in names}, **settings})

    def tokenizer(self) -> Qwen2TokenizerFast:
        """Qwen2's."""
        return qwen2_tokenizer(self.path)

    def semantic_encoder_args(self) -> dict[str, Any]:
        """Arguments of the :class:`~lira_plugin.models.Qwen2VLEncoder` that holds tower and merger."""
        names = ("depth", "embed_dim", "mlp_ratio", "num_heads", "in_channels", "patch_size", "spatial_merge_size")
        names += ("temporal_patch_size",)
        return {
            "hidden_size": self.vision.hidden_size,
            "vision_args": {name: getattr(self.vision, name) for name in names},
        }

    def semantic_encoder_rules(self) -> list[TensorRule]:
        """Tower and merger, whose names stay."""
        vision = self.vision
        width, wide, side = vision.embed_dim, int(vision.embed_dim * vision.mlp_ratio), vision.patch_size
        folded, kernel = width * vision.spatial_merge_size**2, (vision.temporal_patch_size, side, side)
        rules = [_same("visual.patch_embed.proj", (width, vision.in_channels, *kernel))]
        shapes = {"norm1": (width,), "norm2": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        shapes |= {"mlp.fc1": (wide, width), "mlp.fc2": (width, wide)}
        named = {f"blocks.{layer}.{name}": shape for layer in range(vision.depth) for name, shape in shapes.items()}
        named |= {"merger.ln_q": (width,), "merger.mlp.0": (folded, folded)}
        named |= {"merger.mlp.2": (vision.hidden_size, folded)}
        for name, shape in named.items():
            rules += affine(f"visual.{name}", f"visual.{name}", shape)
        return rules

    def llm_rules(self) -> list[TensorRule]:
        """The language model, whose names stay."""
        hidden, wide, words = self.llm.hidden_size, self.llm.intermediate_size, self.llm.vocab_size
        keys = hidden // self.llm.num_attention_heads * self.llm.num_key_value_heads
        rules = [_same("model.embed_tokens", (words, hidden))]
        for layer in range(self.llm.num_hidden_layers):
            name = f"model.layers.{layer}."
            for letter, rows in {"q": hidden, "k": keys, "v": keys}.items():
                projection = f"{name}self_attn.{letter}_proj"
                rules += affine(projection, projection, (rows, hidden))
            rules += [
                _same(f"{name}self_attn.o_proj", (hidden, hidden)),
                _same(f"{name}mlp.gate_proj", (wide, hidden)),
                _same(f"{name}mlp.up_proj", (wide, hidden)),
                _same(f"{name}mlp.down_proj", (hidden, wide)),
                _same(f"{name}input_layernorm", (hidden,)),
                _same(f"{name}post_attention_layernorm", (hidden,)),
            ]
        rules.append(_same("model.norm", (hidden,)))
        return rules if self.llm.tie_word_embeddings else [*rules, _same("lm_head", (words, hidden))]


def _same(name: str, shape: tuple[int, ...]) -> TensorRule:
    return weight_only(name, name, shape)
