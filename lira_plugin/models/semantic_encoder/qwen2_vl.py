"""Qwen2-VL's vision tower as a semantic encoder.

Its layers are transformers' own, named as in the published files; what runs them is written for many tiles of one size. There the
tower's own ``forward`` would compare the patches of every tile with those of all others, and mask that out again.

Shape letters: T tiles, t tile side, g patches along it, P = g^2 patches a tile, m patches along the side of a token, W width of
the transformer, D of a head, H of the LLM.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from lira_plugin.models.semantic_encoder.base import SemanticEncoder
from lira_plugin.models.space_to_depth import space_to_depth
from lira_plugin.registry import MODELS

ROPE_THETA = 10000.0
"""Fixed in the published code."""


@MODELS.register_module()
class Qwen2VLEncoder(SemanticEncoder):
    """The vision tower of Qwen2-VL with its merger (arXiv 2409.12191, section 2.1; ``modeling_qwen2_vl.py`` of transformers).

    Args:
        hidden_size: H.
        tile_size: t, a multiple of the side of a token in pixels (28 in the published models).
        vision_args: arguments of transformers' ``Qwen2VLVisionConfig`` that are not as in the published models.
        mean, std: normalisation of values in 0..1; those of the published models, which are CLIP's.

    Raises:
        ValueError: the tile size is no multiple.
    """

    PROJECTION = "visual.merger"

    def __init__(
        self,
        hidden_size: int,
        tile_size: int = 448,
        vision_args: dict[str, Any] | None = None,
        mean: Sequence[float] = (0.48145466, 0.4578275, 0.40821073),
        std: Sequence[float] = (0.26862954, 0.26130258, 0.27577711),
    ) -> None:
        super().__init__(mean, std)
        config = Qwen2VLVisionConfig(hidden_size=hidden_size, **(vision_args or {}))
        side = config.patch_size * config.spatial_merge_size
        if tile_size % side:
            raise ValueError(f"tile_size must be a multiple of {side}, the side of a token in pixels, got {tile_size}")
        self.tile_size, self.grid, self.merge = tile_size, tile_size // config.patch_size, config.spatial_merge_size
        self.visual = Qwen2VisionTransformerPretrainedModel(config)

    @property
    def tokens_per_tile(self) -> int:
        """P / m^2."""
        return (self.grid // self.merge) ** 2

    def features(self, tiles: Tensor) -> Tensor:
        """(T, 3, t, t) uint8 tiles to (T, P, W), the patches of a token in succession.

        Raises:
            ValueError: tiles of another size.
        """
        if tiles.shape[1:] != (3, self.tile_size, self.tile_size):
            raise ValueError(f"expected tiles of (3, {self.tile_size}, {self.tile_size}), got {tuple(tiles.shape[1:])}")
        hidden = self._embed(self.normalize(tiles))
        angles = self._angles(tiles.device)
        for block in self.visual.blocks:
            hidden = hidden + attend(block.attn, block.norm1(hidden), angles)
            hidden = hidden + block.mlp(block.norm2(hidden))
        return hidden

    def project(self, features: Tensor) -> Tensor:
        """(T, P, W) to (T, P / m^2, H)."""
        return self.visual.merger(features).unflatten(0, (len(features), self.tokens_per_tile))

    def _embed(self, tiles: Tensor) -> Tensor:
        """Normalised tiles to (T, P, W)."""
        # An image is a film of equal frames, over which the kernel's frames add up.
        kernel = self.visual.patch_embed.proj.weight.sum(2)
        patches = F.conv2d(tiles, kernel, stride=self.visual.patch_embed.patch_size)
        return blocks_first(patches.permute(0, 2, 3, 1), self.merge)

    def _angles(self, device: torch.device) -> Tensor:
        """Angles (P, D / 2) by which the patches' queries and keys turn: half of them by row, half by column.

        They are computed here as the tower's own buffer would be rounded where a model is cast to bf16.
        """
        quarter = self.visual.config.embed_dim // self.visual.config.num_heads // 4
        frequencies = ROPE_THETA ** -(torch.arange(quarter, device=device, dtype=torch.float32) / quarter)
        along = torch.arange(self.grid, device=device, dtype=torch.float32)[:, None] * frequencies
        rows = along[:, None].expand(-1, self.grid, -1)
        columns = along[None].expand(self.grid, -1, -1)
        return blocks_first(torch.cat([rows, columns], -1)[None], self.merge)[0]


def blocks_first(patches: Tensor, size: int) -> Tensor:
    """Order patches such that those of a token, ``size`` x ``size``, follow each other: (T, g, g, C) to (T, g^2, C)."""
    return space_to_depth(patches, size).unflatten(-1, (size * size, -1)).flatten(1, 3)


def attend(attention: nn.Module, hidden: Tensor, angles: Tensor) -> Tensor:
    """Self-attention within each tile.

    Args:
        attention: has ``qkv``, ``proj`` and ``num_heads``.
        hidden: (T, P, W).
        angles: (P, D / 2).
    """
    query, key, value = attention.qkv(hidden).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(rotate(query, angles), rotate(key, angles), value)
    return attention.proj(mixed.transpose(1, 2).flatten(2))


def rotate(heads: Tensor, angles: Tensor) -> Tensor:
    """Turn (T, heads, P, D): dimension i with i + D / 2, by the angle of its patch, (P, D / 2)."""
    cos, sin = angles.cos(), angles.sin()
    first, second = heads.float().chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(heads.dtype)
