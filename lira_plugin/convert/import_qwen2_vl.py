"""Qwen2-VL: what a published folder says.

The language model is a Qwen2 whose rotary positions have three axes (time, row, column), each for a section of a head. In text
they are equal on all three, and then it is Qwen2's plain rotary position. LIRA's sequence interleaves text with image features
that share no grid (tiles, pixels, objects, views of regions) and counts all positions in one line: those of images have plain
positions here.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

from transformers import Qwen2VLConfig

from lira_plugin.convert.llm_families import FAMILIES, SETTINGS
from lira_plugin.convert.published_model import PublishedModel
from lira_plugin.convert.tensor_rules import TensorRule, affine, weight_only
from lira_plugin.models import Qwen2VLEncoder


class Qwen2VLCheckpoint(PublishedModel):
    """A published Qwen2-VL folder (2B, 7B, 72B); arguments as of the base class.

    Raises:
        FileNotFoundError: no ``config.json``.
        ValueError: it is of something else.
    """

    supported = "Qwen2-VL folders as they are published"
    encoder_class = Qwen2VLEncoder
    chat_template = "qwen_chat"

    def __init__(self, path: str | Path, published: str | None = None, obtain: str = "") -> None:
        super().__init__(path, published, obtain)
        # Newer versions of transformers write text_config, and other names of tensors with it.
        self.expect(self.config, "", model_type="qwen2_vl", text_config=None)
        rope = self.config.get("rope_scaling") or {}
        if rope.get("type", rope.get("rope_type")) != "default":  # transformers renames mrope when it writes a folder
            self.expect(rope, "rope_scaling.", type="mrope")
        whole = Qwen2VLConfig(**deepcopy(self.config))  # it changes the dictionaries that it is given
        self.vision = whole.vision_config
        self.expect(self.vision.to_dict(), "vision_config.", hidden_act="quick_gelu", hidden_size=whole.hidden_size)
        names = [name for name in SETTINGS if name != "rope_scaling"]  # on one axis it is the plain one
        checked = {name: self.config[name] for name in ("hidden_act", "use_sliding_window") if name in self.config}
        self.use_llm(FAMILIES["Qwen2ForCausalLM"], checked | {name: getattr(whole, name, None) for name in names}, "")

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
        embedding = "visual.patch_embed.proj"
        rules = [weight_only(embedding, embedding, (width, vision.in_channels, *kernel))]
        shapes = {"norm1": (width,), "norm2": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        shapes |= {"mlp.fc1": (wide, width), "mlp.fc2": (width, wide)}
        named = {f"blocks.{layer}.{name}": shape for layer in range(vision.depth) for name, shape in shapes.items()}
        named |= {"merger.ln_q": (width,), "merger.mlp.0": (folded, folded)}
        named |= {"merger.mlp.2": (vision.hidden_size, folded)}
        for name, shape in named.items():
            rules += affine(f"visual.{name}", f"visual.{name}", shape)
        return rules

    def llm_prefixes(self) -> tuple[str, str]:
        """Of the layers and of the head."""
        return "model.", ""
