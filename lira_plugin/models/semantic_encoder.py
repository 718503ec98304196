"""The semantic encoder: a vision transformer on tiles, pixel-shuffled and projected to the width of the LLM.

Shape letters: T tiles, t tile side, P patches a tile, W width of the transformer, H width of the LLM, r shuffle ratio.
"""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from lira_plugin.registry import MODELS


class TileEncoder(nn.Module):
    """What LIRA asks of a semantic encoder: uint8 tiles in, tokens of the LLM's width out.

    Args:
        mean, std: normalisation of values in 0..1.
    """

    PROJECTION: str
    """Name of the module that :meth:`project` runs, ``mlp1`` or its like, which may be trained where all before it is frozen."""
    tile_size: int
    """t."""
    tokens_per_tile: int

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def normalize(self, tiles: Tensor) -> Tensor:
        """(T, 3, t, t) uint8 to what the vision transformer reads."""
        return (tiles.to(self.mean.dtype) / 255 - self.mean) / self.std

    def forward(self, tiles: Tensor) -> Tensor:
        """Encode (T, 3, t, t) uint8 tiles to (T, tokens_per_tile, H)."""
        return self.project(self.features(tiles))

    def features(self, tiles: Tensor) -> Tensor:
        """What the vision transformer makes of (T, 3, t, t) uint8 tiles; its shape, (T, ...), is the encoder's affair."""
        raise NotImplementedError

    def project(self, features: Tensor) -> Tensor:
        """:meth:`features` to (T, tokens_per_tile, H)."""
        raise NotImplementedError


@MODELS.register_module()
class SemanticEncoder(TileEncoder):
    """InternViT with ``mlp1`` (``modeling_internvl_chat.py``).

    Args:
        vit: name of a timm vision transformer with prefix tokens and a square grid, such as
            ``vit_intern300m_patch14_448``.
        hidden_size: H.
        shuffle: r; a square of r x r patches becomes one token.
        vit_args: further arguments of ``timm.create_model``.
        mean, std: normalisation of values in 0..1.
    """

    PROJECTION = "projector"

    def __init__(
        self,
        hidden_size: int,
        vit: str = "vit_intern300m_patch14_448",
        shuffle: int = 2,
        vit_args: dict[str, Any] | None = None,
        mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        std: tuple[float, ...] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__(mean, std)
        self.vit = timm.create_model(vit, num_classes=0, **(vit_args or {}))
        self.shuffle = shuffle
        width = self.vit.num_features * shuffle * shuffle
        self.projector = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size)
        )

    @property
    def tile_size(self) -> int:
        """t."""
        return self.vit.patch_embed.img_size[0]

    @property
    def tokens_per_tile(self) -> int:
        """P / r^2."""
        rows, columns = self.vit.patch_embed.grid_size
        return rows * columns // self.shuffle**2

    def features(self, tiles: Tensor) -> Tensor:
        """(T, 3, t, t) uint8 tiles to (T, P / r^2, r^2 W)."""
        patches = self.vit.forward_features(self.normalize(tiles))[:, self.vit.num_prefix_tokens :]
        rows, columns = self.vit.patch_embed.grid_size
        return pixel_shuffle(patches.unflatten(1, (rows, columns)), self.shuffle).flatten(1, 2)

    def project(self, features: Tensor) -> Tensor:
        """(T, P / r^2, r^2 W) to (T, P / r^2, H)."""
        return self.projector(features)


def pixel_shuffle(patches: Tensor, ratio: int) -> Tensor:
    """Fold squares of ``ratio`` x ``ratio`` patches into channels: (T, h, w, W) to (T, h / r, w / r, r^2 W).

    Channels are ordered (row in block, column in block, W), as in InternVL's "v2" shuffle with its two transpositions
    (``modeling_internvl_chat.py``).
    """
    tiles, height, width, channels = patches.shape
    blocks = patches.view(tiles, height // ratio, ratio, width // ratio, ratio, channels)
    return blocks.permute(0, 1, 3, 2, 4, 5).reshape(tiles, height // ratio, width // ratio, ratio * ratio * channels)
