"""InternViT, or another vision transformer of timm, as semantic encoder.

Shape letters: T tiles, t tile side, P patches a tile, W width of the transformer, H width of the LLM, r shuffle ratio.
"""

import math
from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

from lira_plugin.models.semantic_encoder.base import SemanticEncoder
from lira_plugin.models.space_to_depth import folded_grid, space_to_depth
from lira_plugin.registry import MODELS


@MODELS.register_module()
class InternViTEncoder(SemanticEncoder):
    """InternViT with ``mlp1`` (``modeling_internvl_chat.py``): patches, folded and projected to the width of the LLM.

    Other vision transformers of timm do as well, with prefix tokens or without: ``vit="vit_base_patch16_siglip_224"``.

    Args:
        hidden_size: H.
        vit: name of a timm vision transformer with a square grid of patches.
        shuffle: r; a square of r x r patches becomes one token.
        vit_args: further arguments of ``timm.create_model``.
        qk_norm: normalise queries and keys over all heads together, as InternViT-6B does; timm's own ``qk_norm`` does it in each.
        mean, std: normalisation of values in 0..1; None is what timm says of the transformer.

    Raises:
        ValueError: the tiles are not square, or r does not divide the grid of patches.
    """

    PROJECTION = "projector"

    def __init__(
        self,
        hidden_size: int,
        vit: str = "vit_intern300m_patch14_448",
        shuffle: int = 2,
        vit_args: dict[str, Any] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        qk_norm: bool = False,
    ) -> None:
        transformer = timm.create_model(vit, num_classes=0, **(vit_args or {}))
        learnt = transformer.pretrained_cfg
        super().__init__(learnt["mean"] if mean is None else mean, learnt["std"] if std is None else std)
        self.vit = transformer
        if getattr(self.vit, "attn_pool", None) is not None:
            self.vit.attn_pool = None  # makes one vector of all patches, and nothing here reads it
        if qk_norm:
            for block in self.vit.blocks:
                block.attn.q_norm, block.attn.k_norm = (JointHeadNorm(self.vit.num_features) for _ in "qk")
        height, width = self.vit.patch_embed.img_size
        if height != width:
            raise ValueError(
                f"tiles must be square, but {vit} reads {height} x {width} pixels: give vit_args=dict(img_size=...)"
            )
        self.shuffle = shuffle
        folded_grid(*self.vit.patch_embed.grid_size, shuffle)
        channels = self.vit.num_features * shuffle * shuffle
        self.projector = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size)
        )

    @property
    def tile_size(self) -> int:
        """t."""
        return self.vit.patch_embed.img_size[0]

    @property
    def tokens_per_tile(self) -> int:
        """P / r^2."""
        return math.prod(folded_grid(*self.vit.patch_embed.grid_size, self.shuffle))

    def features(self, tiles: Tensor) -> Tensor:
        """(T, 3, t, t) uint8 tiles to (T, P / r^2, r^2 W)."""
        patches = self.vit.forward_features(self.normalize(tiles))[:, self.vit.num_prefix_tokens :]
        return space_to_depth(patches.unflatten(1, self.vit.patch_embed.grid_size), self.shuffle).flatten(1, 2)

    def project(self, features: Tensor) -> Tensor:
        """(T, P / r^2, r^2 W) to (T, P / r^2, H)."""
        return self.projector(features)


class JointHeadNorm(nn.Module):
    """Root-mean-square norm of queries or keys over all heads together.

    Args:
        width: W, of all heads.
        eps: as in the published models.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, heads: Tensor) -> Tensor:
        """(T, heads, P, D) to the same."""
        joint = heads.transpose(1, 2)
        joint = joint / (joint.float().square().mean((-2, -1), keepdim=True) + self.eps).sqrt().to(heads.dtype)
        return (joint * self.weight.view(heads.shape[1], -1)).transpose(1, 2)
