"""The contract of semantic encoders: uint8 tiles in, tokens of the LLM's width out.

Shape letters: T tiles, t tile side, H width of the LLM.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SemanticEncoder(nn.Module):
    """What LIRA asks of a semantic encoder: (T, 3, t, t) uint8 tiles in, (T, tokens_per_tile, H) out.

    Tiles of an image and views of regions are encoded alike. A subclass says :attr:`tile_size`, :attr:`tokens_per_tile` and
    :attr:`PROJECTION`, and splits its work in two: :meth:`features` is everything up to the projection, which is often frozen
    and can then be kept on disk (:class:`~lira_plugin.models.semantic_encoder.feature_cache.FeatureCache`); :meth:`project` is
    the projection. The data pipeline takes ``tile_size`` and ``tokens_per_tile`` from the encoder.

    Args:
        mean, std: normalisation of values in 0..1, as the encoder has learnt it.
    """

    PROJECTION: str
    """Name of the module that :meth:`project` runs, such as ``projector``; it may be trained where all before it is frozen."""
    tile_size: int
    """t, pixels along the side of a tile."""
    tokens_per_tile: int
    deep_stack_levels: int = 0
    """L: a token has as many further features of width H, for the first layers of the LLM (:mod:`lira_plugin.models.deep_stack`):
    it is (1 + L) * H wide."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
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
        """What the vision transformer makes of (T, 3, t, t) uint8 tiles; the shape, (T, ...), is up to the encoder."""
        raise NotImplementedError

    def project(self, features: Tensor) -> Tensor:
        """:meth:`features` to (T, tokens_per_tile, H)."""
        raise NotImplementedError
