"""InternViT and the projection behind it: what a published configuration says of them, and where each tensor goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lira_plugin.convert.tensor_rules import Rule, StackRule, TensorRule, affine, weight_only

NORMS = {"layer_norm": None, "rms_norm": "rmsnorm"}
"""Kinds of norm by their published names, and timm's names; None is its default."""


@dataclass(frozen=True)
class InternViTSettings:
    """Of the tower and the projection."""

    width: int
    wide: int
    """Of the feed-forward part."""
    layers: int
    heads: int
    image_size: int
    patch_size: int
    norm: str
    """One of :data:`NORMS`."""
    qkv_bias: bool
    qk_norm: bool
    """Queries and keys are normalised, over all heads together."""
    drop_path: float
    shuffle: int
    hidden: int
    """Of the LLM."""

    def encoder_args(self) -> dict[str, Any]:
        """Arguments of the :class:`~lira_plugin.models.InternViTEncoder` that holds tower and projection."""
        vit_args = {
            "img_size": self.image_size,
            "patch_size": self.patch_size,
            "embed_dim": self.width,
            "depth": self.layers,
            "num_heads": self.heads,
            "mlp_ratio": self.wide / self.width,
            "drop_path_rate": self.drop_path,
        }
        vit_args |= {} if self.qkv_bias else {"qkv_bias": False}
        vit_args |= {"norm_layer": kind} if (kind := NORMS[self.norm]) else {}
        args = {"hidden_size": self.hidden, "vit": "vit_intern300m_patch14_448", "shuffle": self.shuffle}
        return args | {"vit_args": vit_args} | ({"qk_norm": True} if self.qk_norm else {})


@dataclass(frozen=True)
class TowerNames:
    """What a layout calls the tensors of tower and projection."""

    tower: str
    """Prefix of the tower."""
    projection: str
    embeddings: Mapping[str, str]
    """Our names of the tensors in front of the layers, and the layout's."""
    layers: str
    """Prefix of the layers inside of the tower."""
    layer: Mapping[str, str]
    """Our names inside of a layer, and the layout's."""
    projector: Mapping[int, str]
    fused_qkv: bool


ORIGINAL = TowerNames(
    tower="vision_model.",
    projection="mlp1.",
    embeddings={
        "cls_token": "embeddings.class_embedding",
        "pos_embed": "embeddings.position_embedding",
        "patch_embed.proj": "embeddings.patch_embedding",
    },
    layers="encoder.layers.",
    layer={"ls1": "ls1", "ls2": "ls2", "norm1": "norm1", "norm2": "norm2", "proj": "attn.proj", "attn": "attn"},
    projector={0: "0", 1: "1", 3: "3"},
    fused_qkv=True,
)
TRANSFORMERS = TowerNames(
    tower="vision_tower.",
    projection="multi_modal_projector.",
    embeddings={
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
    },
    layers="encoder.layer.",
    layer={
        "ls1": "lambda_1",
        "ls2": "lambda_2",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "proj": "attention.projection_layer",
        "attn": "attention",
    },
    projector={0: "layer_norm", 1: "linear_1", 3: "linear_2"},
    fused_qkv=False,
)


def internvit_rules(settings: InternViTSettings, names: TowerNames, prefix: str = "") -> list[Rule]:
    """Rules to the names of :class:`~lira_plugin.models.InternViTEncoder`.

    Args:
        settings: of tower and projection.
        names: the layout's.
        prefix: in front of all names of the layout.
    """
    width, patch = settings.width, settings.patch_size
    positions = (settings.image_size // patch) ** 2 + 1
    tower = prefix + names.tower
    front = {ours: tower + theirs for ours, theirs in names.embeddings.items()}
    rules: list[Rule] = [
        TensorRule(front["cls_token"], (1, 1, width), ("vit.cls_token",)),
        TensorRule(front["pos_embed"], (1, positions, width), ("vit.pos_embed",)),
        *affine(front["patch_embed.proj"], "vit.patch_embed.proj", (width, 3, patch, patch)),
    ]
    for layer in range(settings.layers):
        rules += _layer_rules(settings, names, f"{tower}{names.layers}{layer}.", f"vit.blocks.{layer}.")
    folded = width * settings.shuffle**2
    shapes = {0: (folded,), 1: (settings.hidden, folded), 3: (settings.hidden, settings.hidden)}
    for index, shape in shapes.items():
        rules += affine(f"{prefix}{names.projection}{names.projector[index]}", f"projector.{index}", shape)
    return rules


def _layer_rules(settings: InternViTSettings, names: TowerNames, source: str, target: str) -> list[Rule]:
    width, wide = settings.width, settings.wide
    theirs = {ours: source + name for ours, name in names.layer.items()}
    norm = affine if settings.norm == "layer_norm" else _weight_alone
    rules: list[Rule] = [TensorRule(theirs[name], (width,), (f"{target}{name}.gamma",)) for name in ("ls1", "ls2")]
    rules += norm(theirs["norm1"], f"{target}norm1", (width,))
    for kind in ("weight", *(["bias"] if settings.qkv_bias else [])):
        qkv = f"{target}attn.qkv.{kind}"
        rows = (width, width) if kind == "weight" else (width,)
        if names.fused_qkv:
            rules.append(TensorRule(f"{theirs['attn']}.qkv.{kind}", (3 * width, *rows[1:]), (qkv,)))
        else:
            sources = tuple(f"{theirs['attn']}.{letter}_proj.{kind}" for letter in "qkv")
            rules.append(StackRule(sources, rows, qkv))
    if settings.qk_norm:
        rules += [
            weight_only(f"{theirs['attn']}.{name}", f"{target}attn.{name}", (width,)) for name in ("q_norm", "k_norm")
        ]
    rules += affine(theirs["proj"], f"{target}attn.proj", (width, width))
    rules += norm(theirs["norm2"], f"{target}norm2", (width,))
    for name, shape in {"mlp.fc1": (wide, width), "mlp.fc2": (width, wide)}.items():
        rules += affine(source + name, target + name, shape)
    return rules


def _weight_alone(source: str, target: str, shape: tuple[int, ...]) -> list[TensorRule]:
    return [weight_only(source, target, shape)]
