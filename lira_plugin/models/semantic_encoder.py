"""The semantic encoder: a vision transformer on tiles, pixel-shuffled and projected to the width of the LLM.

Shape letters: T tiles, t tile side, P patches a tile, W width of the transformer, H width of the LLM, r shuffle ratio.
"""

from typing import Any

import timm
import torch
from torch import Tensor, nn

from lira_plugin.registry import MODELS


@MODELS.register_module()
class SemanticEncoder(nn.Module):
    """InternViT with ``mlp1`` (facts 2.1).

    Args:
        vit: name of a timm vision transformer with prefix tokens and a square grid, such as
            ``vit_intern300m_patch14_448``.
        hidden_size: H.
        shuffle: r; a square of r x r patches becomes one token.
        vit_args: further arguments of ``timm.create_model``.
        mean, std: normalisation of values in 0..1.
    """

    def __init__(
        self,
        hidden_size: int,
        vit: str = "vit_intern300m_patch14_448",
        shuffle: int = 2,
        vit_args: dict[str, Any] | None = None,
        mean: tuple[float, ...] = (0.485, 0.456, 0.406),
        std: tuple[float, ...] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__()
        self.vit = timm.create_model(vit, num_classes=0, **(vit_args or {}))
        self.shuffle = shuffle
        width = self.vit.num_features * shuffle * shuffle
        self.projector = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size)
        )
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @property
    def tokens_per_tile(self) -> int:
        """P / r^2."""
        rows, columns = self.vit.patch_embed.grid_size
        return rows * columns // self.shuffle**2

    def forward(self, tiles: Tensor) -> Tensor:
        """Encode (T, 3, t, t) uint8 tiles to (T, P / r^2, H)."""
        tiles = (tiles.to(self.mean.dtype) / 255 - self.mean) / self.std
        patches = self.vit.forward_features(tiles)[:, self.vit.num_prefix_tokens :]
        rows, columns = self.vit.patch_embed.grid_size
        return self.projector(pixel_shuffle(patches.unflatten(1, (rows, columns)), self.shuffle).flatten(1, 2))


def pixel_shuffle(patches: Tensor, ratio: int) -> Tensor:
    """Fold squares of ``ratio`` x ``ratio`` patches into channels: (T, h, w, W) to (T, h / r, w / r, r^2 W).

    Channels are ordered (row in block, column in block, W), as in InternVL's "v2" shuffle with its two transpositions
    (``modeling_internvl_chat.py``).
    """
    tiles, height, width, channels = patches.shape
    blocks = patches.view(tiles, height // ratio, ratio, width // ratio, ratio, channels)
    return blocks.permute(0, 1, 3, 2, 4, 5).reshape(tiles, height // ratio, width // ratio, ratio * ratio * channels)
