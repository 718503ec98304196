"""What the vision towers of Qwen2-VL, Qwen2.5-VL and Qwen3-VL share as semantic encoders.

Their layers are transformers' own, named as in the published files; what runs them is written for many tiles of one size. There a
tower's own ``forward`` would go through the tiles one by one, or compare the patches of every tile with those of all others.

Shape letters: T tiles, t tile side, g patches along it, P = g^2 patches a tile, m patches along the side of a token, W width of
the transformer, D of a head, n windows of a tile, H of the LLM.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lira_plugin.models.semantic_encoder.base import SemanticEncoder
from lira_plugin.models.space_to_depth import space_to_depth

ROPE_THETA = 10000.0
"""Fixed in the published code."""


class QwenVLEncoder(SemanticEncoder):
    """A vision tower of the family; subclasses build it.

    Args:
        visual: transformers' tower; its ``config`` says the sizes.
        tile_size: t, a multiple of the side of a token in pixels.
        mean, std: normalisation of values in 0..1.

    Raises:
        ValueError: the tile size is no multiple.
    """

    PROJECTION = "visual.merger"

    def __init__(self, visual: nn.Module, tile_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(mean, std)
        config = visual.config
        side = config.patch_size * config.spatial_merge_size
        if tile_size % side:
            raise ValueError(f"tile_size must be a multiple of {side}, the side of a token in pixels, got {tile_size}")
        self.tile_size, self.grid, self.merge = tile_size, tile_size // config.patch_size, config.spatial_merge_size
        self.visual = visual

    @property
    def tokens_per_tile(self) -> int:
        """P / m^2."""
        return (self.grid // self.merge) ** 2

    def features(self, tiles: Tensor) -> Tensor:
        """(T, 3, t, t) uint8 tiles to (T, P, W), the patches of a token in succession.

        Raises:
            ValueError: tiles of another size.
        """
        for hidden in self.layer_outputs(tiles):
            output = hidden
        return output

    def project(self, features: Tensor) -> Tensor:
        """(T, P, W) to (T, P / m^2, H)."""
        return self.visual.merger(features).unflatten(0, (len(features), self.tokens_per_tile))

    def layer_outputs(self, tiles: Tensor) -> Iterator[Tensor]:
        """What each layer makes of (T, 3, t, t) uint8 tiles: (T, P, W), in the order of :meth:`arrange`.

        Raises:
            ValueError: tiles of another size.
        """
        if tiles.shape[1:] != (3, self.tile_size, self.tile_size):
            raise ValueError(f"expected tiles of (3, {self.tile_size}, {self.tile_size}), got {tuple(tiles.shape[1:])}")
        hidden = self.embed(self.normalize(tiles))
        angles = self._angles(tiles.device)
        for layer, block in enumerate(self.visual.blocks):
            hidden = hidden + attend(block.attn, block.norm1(hidden), angles, self.windows(layer))
            hidden = hidden + block.mlp(block.norm2(hidden))
            yield hidden

    def arrange(self, patches: Tensor) -> Tensor:
        """Order patches such that those of a token follow each other: (T, g, g, C) to (T, P, C)."""
        return blocks_first(patches, self.merge)

    def windows(self, layer: int) -> int:
        """How many equal parts of a tile's patches, as they are arranged, a layer looks at apart."""
        return 1

    def embed(self, tiles: Tensor) -> Tensor:
        """Normalised tiles to (T, P, W)."""
        embedding = self.visual.patch_embed
        # An image is a film of equal frames, over which the kernel's frames add up.
        kernel = embedding.proj.weight.sum(2)
        patches = F.conv2d(tiles, kernel, embedding.proj.bias, stride=embedding.patch_size)
        return self.arrange(patches.permute(0, 2, 3, 1))

    def _angles(self, device: torch.device) -> Tensor:
        """Angles (P, D / 2) by which the patches' queries and keys turn: half of them by row, half by column.

        They are computed here as the tower's own buffer would be rounded where a model is cast to bf16.
        """
        attention = self.visual.blocks[0].attn
        quarter = attention.qkv.in_features // attention.num_heads // 4
        frequencies = ROPE_THETA ** -(torch.arange(quarter, device=device, dtype=torch.float32) / quarter)
        along = torch.arange(self.grid, device=device, dtype=torch.float32)[:, None] * frequencies
        rows = along[:, None].expand(-1, self.grid, -1)
        columns = along[None].expand(self.grid, -1, -1)
        return self.arrange(torch.cat([rows, columns], -1)[None])[0]


def blocks_first(patches: Tensor, size: int) -> Tensor:
    """Order patches such that those of a square, ``size`` x ``size``, follow each other: (T, g, g, C) to (T, g^2, C)."""
    return space_to_depth(patches, size).unflatten(-1, (size * size, -1)).flatten(1, 3)


def attend(attention: nn.Module, hidden: Tensor, angles: Tensor, windows: int = 1) -> Tensor:
    """Self-attention within each tile, or within each of its windows.

    Args:
        attention: has ``qkv``, ``proj`` and ``num_heads``.
        hidden: (T, P, W), the patches of a window in succession.
        angles: (P, D / 2).
        windows: n.
    """
    query, key, value = attention.qkv(hidden).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    query, key = rotate(query, angles), rotate(key, angles)
    if windows > 1:  # (T, heads, P, D) to (T * n, heads, P / n, D)
        query, key, value = (
            heads.unflatten(2, (windows, -1)).transpose(1, 2).flatten(0, 1) for heads in (query, key, value)
        )
    mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    return attention.proj(mixed.reshape(hidden.shape) if windows > 1 else mixed)


def rotate(heads: Tensor, angles: Tensor) -> Tensor:
    """Turn (T, heads, P, D): dimension i with i + D / 2, by the angle of its patch, (P, D / 2)."""
    cos, sin = angles.cos(), angles.sin()
    first, second = heads.float().chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(heads.dtype)
