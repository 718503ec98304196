"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: what a published folder says.

The language model is a Qwen2 or Qwen3 whose rotary positions have three axes (time, row, column), each for some dimensions of a
head: sections of it, or every third one of Qwen3-VL's. In text they are equal on all three, and then it is the plain rotary
position. LIRA's sequence interleaves text with image features that share no grid (tiles, pixels, objects, views of regions) and
counts all positions in one line: those of images have plain positions here.

Qwen3-VL's DeepStack is kept: its semantic encoder gives the features and its LLM adds them behind its first layers
(:mod:`lira_plugin.models.deep_stack`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lira_plugin.convert.llm_families import FAMILIES, SETTINGS
from lira_plugin.convert.published_model import PublishedModel
from lira_plugin.convert.tensor_rules import TensorRule
from lira_plugin.models import Qwen2_5VLEncoder, Qwen2VLEncoder, Qwen3VLEncoder
from lira_plugin.models.semantic_encoder.base import SemanticEncoder

TOP, INSIDE = ("visual.", "model.", ""), ("model.visual.", "model.language_model.", "")
"""Prefixes of the names of the tower, of the LLM's layers and of its head, as versions of the layouts have them."""


@dataclass(frozen=True)
class QwenVLLayout:
    """How a family spells its settings."""

    llm: str
    """Architecture of the LLM."""
    encoder: type[SemanticEncoder]
    template: str
    """Our name of the chat template."""
    width: str
    """The tower's setting that is the width of the LLM."""
    vision: tuple[str, ...]
    """Settings of the tower that the encoder takes, where they are there; its defaults are those of the published code."""
    fixed_vision: Mapping[str, Any]
    """Settings of the tower that would change the computation, with the value that is supported."""
    stacks: tuple[tuple[str, str, str], ...]
    rope_theta: float
    rms_norm_eps: float
    kv_heads: int
    """These three, where the LLM's settings do not say them: as in the code that published the layout."""


SHARED = ("depth", "num_heads", "in_channels", "patch_size", "spatial_merge_size", "temporal_patch_size")
LAYOUTS = {
    "qwen2_vl": QwenVLLayout(
        llm="Qwen2ForCausalLM",
        encoder=Qwen2VLEncoder,
        template="qwen_chat",
        width="hidden_size",
        vision=(*SHARED, "embed_dim", "mlp_ratio"),
        fixed_vision={"hidden_act": "quick_gelu"},
        stacks=(TOP, INSIDE),
        rope_theta=1000000.0,
        rms_norm_eps=1e-5,
        kv_heads=8,
    ),
    "qwen2_5_vl": QwenVLLayout(
        llm="Qwen2ForCausalLM",
        encoder=Qwen2_5VLEncoder,
        template="qwen_chat",
        width="out_hidden_size",
        vision=(*SHARED, "hidden_size", "intermediate_size", "window_size", "fullatt_block_indexes"),
        fixed_vision={"hidden_act": "silu"},
        stacks=(TOP, INSIDE),
        rope_theta=1000000.0,
        rms_norm_eps=1e-5,
        kv_heads=8,
    ),
    "qwen3_vl": QwenVLLayout(
        llm="Qwen3ForCausalLM",
        encoder=Qwen3VLEncoder,
        template="qwen3_chat",
        width="out_hidden_size",
        vision=(*SHARED, "hidden_size", "intermediate_size", "num_position_embeddings", "deepstack_visual_indexes"),
        fixed_vision={"hidden_act": "gelu_pytorch_tanh"},
        stacks=(INSIDE,),
        rope_theta=5000000.0,
        rms_norm_eps=1e-6,
        kv_heads=32,
    ),
}
"""By ``model_type``."""


class QwenVLCheckpoint(PublishedModel):
    """A published Qwen2-VL, Qwen2.5-VL or Qwen3-VL folder; arguments as of the base class.

    Raises:
        FileNotFoundError: no ``config.json``.
        ValueError: it is of something else.
    """

    supported = "Qwen2-VL, Qwen2.5-VL and Qwen3-VL folders (without experts) as they are published"

    def __init__(self, path: str | Path, published: str | None = None, obtain: str = "") -> None:
        super().__init__(path, published, obtain)
        self.expect_one_of("model_type", self.config.get("model_type"), LAYOUTS)
        self.layout = LAYOUTS[self.config["model_type"]]
        self.encoder_class, self.chat_template = self.layout.encoder, self.layout.template
        # Where the LLM has settings of its own, some of them may stand beside it as well.
        where = "text_config." if self.config.get("text_config") else ""
        text = {**self.config, **(self.config.get("text_config") or {})}
        self.expect_rope(text, where)
        self.vision = self.config.get("vision_config", {})
        fixed = {**self.layout.fixed_vision, "in_chans": 3, "in_channels": 3}
        self.expect(self.vision, "vision_config.", **fixed, **{self.layout.width: text.get("hidden_size")})
        self.use_llm(FAMILIES[self.layout.llm], self._llm_settings(text), where)

    def expect_rope(self, text: Mapping[str, Any], where: str) -> None:
        """Check that rotary positions have three axes and nothing else.

        Raises:
            ValueError: they are scaled.
        """
        name = "rope_parameters" if text.get("rope_parameters") else "rope_scaling"
        rope = text.get(name) or {}
        kind = rope.get("type", rope.get("rope_type"))
        if kind not in (None, "default"):  # transformers renames mrope when it writes a folder
            self.expect({"type": kind}, f"{where}{name}.", type="mrope")

    def _llm_settings(self, text: Mapping[str, Any]) -> dict[str, Any]:
        """Those that the LLM is made of or that are checked. On one axis, its rotary position is the plain one."""
        layout, theta = self.layout, (text.get("rope_parameters") or {}).get("rope_theta")
        absent = {"rope_theta": theta or layout.rope_theta, "rms_norm_eps": layout.rms_norm_eps}
        absent |= {"num_key_value_heads": layout.kv_heads}
        names = {*SETTINGS, *FAMILIES[layout.llm].fixed} - {"rope_scaling"}
        levels = len(self.vision.get("deepstack_visual_indexes") or ())
        found = {name: text[name] for name in names if text.get(name) is not None}
        return absent | found | ({"deep_stack_levels": levels} if levels else {})

    @cached_property
    def prefixes(self) -> tuple[str, str, str]:
        """Of the tower, of the layers and of the head: as the files have them, where they are there."""
        return self.find_prefixes(self.layout.stacks, 0)

    def semantic_encoder_args(self) -> dict[str, Any]:
        """Arguments of the encoder's class that holds tower and merger."""
        return {
            "hidden_size": self.vision.get(self.layout.width, self.llm["hidden_size"]),
            "vision_args": {name: self.vision[name] for name in self.layout.vision if name in self.vision},
        }

    def semantic_encoder_rules(self) -> list[TensorRule]:
        """Tower and merger, whose names are those of transformers' classes."""
        shapes = {name: tuple(tensor.shape) for name, tensor in self.empty_encoder().state_dict().items()}
        return [TensorRule(self.prefixes[0] + self._published(name), shape, (name,)) for name, shape in shapes.items()]

    def _published(self, name: str) -> str:
        """The name of a tensor of our encoder in the tower."""
        part, _, inside = name.partition(".")
        if part == "visual":
            return inside
        index, _, inside = inside.partition(".")  # of a merger
        return f"merger.{inside}" if index == "0" else f"deepstack_merger_list.{int(index) - 1}.{inside}"

    def llm_prefixes(self) -> tuple[str, str]:
        """Of the layers and of the head."""
        return self.prefixes[1:]
