"""InternVL2, 2.5, 3 and 3.5: what a published folder says, in the original layout or in transformers' (``-hf``).

All that differs among sizes and layouts is data: names (:mod:`~lira_plugin.convert.internvit_rules`,
:mod:`~lira_plugin.convert.decoder_rules`) and settings, which are read from the folder's own ``config.json``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lira_plugin.convert.internvit_rules import (
    NORMS,
    ORIGINAL,
    TRANSFORMERS,
    InternViTSettings,
    TowerNames,
    internvit_rules,
)
from lira_plugin.convert.llm_families import ARCHITECTURES, FAMILIES
from lira_plugin.convert.published_model import PublishedModel
from lira_plugin.convert.tensor_rules import Rule
from lira_plugin.models import InternViTEncoder


@dataclass(frozen=True)
class InternVLLayout:
    """How a layout spells its settings, and the values that absent ones have in the code that published it."""

    llm: str
    """Key of the LLM's settings."""
    names: TowerNames
    fixed: Mapping[str, Any]
    """Settings of the whole that would change the computation, with the value that is supported."""
    fixed_vision: Mapping[str, Any]
    vision: Mapping[str, tuple[str, Any]]
    """Our names of the tower's settings that not every folder says: the layout's name and the value of an absent one."""
    stacks: tuple[tuple[str, str, str], ...]
    """Prefixes of the names of everything, of the LLM's layers and of its head, as versions of the layout have them."""


LAYOUTS = {
    "internvl_chat": InternVLLayout(
        llm="llm_config",
        names=ORIGINAL,
        fixed={"ps_version": "v2", "select_layer": -1, "pad2square": False},
        fixed_vision={"hidden_act": "gelu", "layer_norm_eps": 1e-6, "num_channels": 3},
        vision={
            "norm": ("norm_type", "rms_norm"),
            "qkv_bias": ("qkv_bias", False),
            "qk_norm": ("qk_normalization", True),
            "drop_path": ("drop_path_rate", 0.0),
        },
        stacks=(("", "language_model.model.", "language_model."),),
    ),
    "internvl": InternVLLayout(
        llm="text_config",
        names=TRANSFORMERS,
        fixed={
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "default",
            "projector_hidden_act": "gelu",
        },
        fixed_vision={
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
            "num_channels": 3,
            "use_mean_pooling": True,
            "use_mask_token": False,
            "use_absolute_position_embeddings": True,
        },
        vision={
            "norm": ("norm_type", "layer_norm"),
            "qkv_bias": ("attention_bias", False),
            "qk_norm": ("use_qk_norm", False),
            "drop_path": ("drop_path_rate", 0.0),
        },
        stacks=(
            ("", "language_model.model.", "language_model."),  # as published
            ("model.", "model.language_model.", ""),  # as transformers 5 writes it
        ),
    ),
}
"""By ``model_type``."""
TEMPLATES = {"internlm2-chat": "internvl2_chat", "internvl2_5": "internvl2_5_chat"}
"""Published names of chat templates, and ours."""


class InternVLCheckpoint(PublishedModel):
    """A published InternVL folder with ``ps_version`` v2; arguments as of the base class.

    Raises:
        FileNotFoundError: no ``config.json``.
        ValueError: it is of something else.
    """

    supported = (
        "InternVL2-2B, -8B, InternVL2_5-1B, -2B, -4B, -8B, InternVL3-1B, -2B, -8B, InternVL3_5-1B, -2B, -4B, -8B and "
        "others of InternViT with InternLM2, Qwen2, Qwen3 or Llama, as they are published and as transformers has them (-hf)"
    )
    unused = {r".*\.rotary_emb\.inv_freq": "computed from rope_theta"}
    encoder_class = InternViTEncoder

    def __init__(self, path: str | Path, published: str | None = None, obtain: str = "") -> None:
        super().__init__(path, published, obtain)
        self.expect_one_of("model_type", self.config.get("model_type"), LAYOUTS)
        self.layout = LAYOUTS[self.config["model_type"]]
        vision, llm = self.config.get("vision_config", {}), self.config.get(self.layout.llm, {})
        self.expect(self.config, "", **self.layout.fixed)
        self.expect(vision, "vision_config.", **self.layout.fixed_vision)
        self._read_llm(llm)
        self.vision = self._read_vision(vision)
        self.expect(self.config, "", force_image_size=self.vision.image_size)

    def _read_llm(self, llm: Mapping[str, Any]) -> None:
        # transformers' layout keeps the architecture that the LLM had in the original one
        architecture = ARCHITECTURES.get(llm.get("model_type")) or (llm.get("architectures") or [None])[0]
        self.expect_one_of(f"{self.layout.llm}.architecture", architecture, FAMILIES)
        self.use_llm(FAMILIES[architecture], llm, f"{self.layout.llm}.")

    def _read_vision(self, vision: Mapping[str, Any]) -> InternViTSettings:
        optional = {ours: vision.get(theirs, absent) for ours, (theirs, absent) in self.layout.vision.items()}
        self.expect_one_of("vision_config.norm_type", optional["norm"], NORMS)
        return InternViTSettings(
            width=vision["hidden_size"],
            wide=vision["intermediate_size"],
            layers=vision["num_hidden_layers"],
            heads=vision["num_attention_heads"],
            image_size=self._side(vision, "image_size"),
            patch_size=self._side(vision, "patch_size"),
            shuffle=round(1 / self.config.get("downsample_ratio", 0.5)),
            hidden=self.llm["hidden_size"],
            **optional,
        )

    def _side(self, vision: Mapping[str, Any], name: str) -> int:
        """The side of a square, which transformers writes as two numbers."""
        value = vision[name]
        sides = value if isinstance(value, list | tuple) else [value]
        if len(set(sides)) != 1:
            raise ValueError(f"{self.path}/config.json has vision_config.{name}={value!r}: only squares are supported")
        return sides[0]

    @property
    def chat_template(self) -> str:
        """The name of ours for the template that the folder names; transformers' layout is of models with that of InternVL2.5.

        Raises:
            ValueError: there is none of ours for it.
        """
        named = self.config.get("template", "internvl2_5")
        self.expect_one_of("template", named, TEMPLATES)
        return TEMPLATES[named]

    @cached_property
    def prefixes(self) -> tuple[str, str, str]:
        """Of everything, of the layers and of the head: as the files have them, where they are there."""
        return self.find_prefixes(self.layout.stacks, 1)

    def semantic_encoder_args(self) -> dict[str, Any]:
        """Arguments of the :class:`~lira_plugin.models.InternViTEncoder` that holds InternViT and the projection."""
        return self.vision.encoder_args()

    def semantic_encoder_rules(self) -> list[Rule]:
        """InternViT and the projection to the names of :class:`~lira_plugin.models.InternViTEncoder`."""
        return internvit_rules(self.vision, self.layout.names, self.prefixes[0])

    def llm_prefixes(self) -> tuple[str, str]:
        """Of the layers and of the head."""
        return self.prefixes[1:]
