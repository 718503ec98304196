"""SEFE, the semantic-enhanced feature extractor: pixel and object tokens that have looked at the semantic tokens.

Shape letters: N images, T tiles in all, U semantic tokens a tile, P pixel tokens, Q object queries, H width of the LLM.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lira_plugin.models.pixel_encoder.pixel_encoder import PixelFeatures
from lira_plugin.registry import MODELS


class VisualTokens(NamedTuple):
    """What the visual blocks of N images hold."""

    semantic: Tensor
    """(T, U, H), tile by tile; empty without SEFE."""
    pixels: Tensor
    """(N, P, H)."""
    objects: Tensor
    """(N, Q, H)."""
    object_valid: Tensor
    """(N, Q) bool."""


@MODELS.register_module()
class SEFE(nn.Module):
    """Project pixel and object features to the LLM and fuse them with the semantic tokens (paper section 3.2).

    One pre-norm cross-attention, shared by pixel and object tokens, reads the semantic tokens of the same image; it has
    neither feed-forward part nor position embedding.

    Args:
        pixel_channels: channels of :attr:`PixelFeatures.pixels`.
        object_channels: channels of :attr:`PixelFeatures.objects`, 2D.
        hidden_size: H.
        query_channels: inner width of the object projection (6144 in LIRA, the unshuffled channels of the backbone).
        num_heads: heads of the cross-attention.
        enrich: False is "without SEFE": no cross-attention, no semantic tokens in the visual block.
    """

    def __init__(
        self,
        pixel_channels: int,
        object_channels: int,
        hidden_size: int,
        query_channels: int,
        num_heads: int = 32,
        enrich: bool = True,
    ) -> None:
        super().__init__()
        self.query_proj = nn.Linear(object_channels, query_channels)
        self.object_proj = _mlp(query_channels, hidden_size)
        self.pixel_proj = _mlp(pixel_channels, hidden_size)
        self.semantic_separator = nn.Parameter(torch.randn(hidden_size) * 0.02)
        self.pixel_separator = nn.Parameter(torch.randn(hidden_size) * 0.02)
        self.enrich = SemanticAttention(hidden_size, num_heads) if enrich else None

    def project_objects(self, objects: Tensor) -> Tensor:
        """(..., 2D) object features to (..., H), before any look at the semantic tokens."""
        return self.object_proj(self.query_proj(objects))

    def forward(self, features: PixelFeatures, semantic: Tensor, tile_image: Tensor) -> VisualTokens:
        """Fuse.

        Args:
            features: of N images.
            semantic: (T, U, H) of all tiles.
            tile_image: (T,) image of each tile, ascending.
        """
        objects = self.project_objects(features.objects)
        pixels = self.pixel_proj(features.pixels)
        if self.enrich is None:
            return VisualTokens(semantic[:0], pixels, objects, features.object_valid)
        context, padding = _pad_by_image(semantic, tile_image, len(pixels))
        objects = self.enrich(objects, context, padding)
        pixels = self.enrich(pixels, context, padding)
        return VisualTokens(semantic, pixels, objects, features.object_valid)


class SemanticAttention(nn.Module):
    """Pre-norm cross-attention onto the semantic tokens with a residual connection."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.norm_query = nn.LayerNorm(hidden_size)
        self.norm_context = nn.LayerNorm(hidden_size)
        self.attention = nn.MultiheadAttention(hidden_size, num_heads, batch_first=True)

    def forward(self, tokens: Tensor, context: Tensor, padding: Tensor) -> Tensor:
        """``tokens`` (N, n, H) look at ``context`` (N, m, H), of which those marked in ``padding`` (N, m) are void."""
        context = self.norm_context(context)
        attended, _ = self.attention(
            self.norm_query(tokens), context, context, key_padding_mask=padding, need_weights=False
        )
        return tokens + attended


def _mlp(channels: int, hidden_size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size))


def _pad_by_image(semantic: Tensor, tile_image: Tensor, num_images: int) -> tuple[Tensor, Tensor]:
    """(T, U, H) to (N, most tiles * U, H) and the padding mask (N, most tiles * U)."""
    counts = torch.bincount(tile_image, minlength=num_images)
    if num_images and int(counts.min()) == 0:
        raise ValueError(f"image {int(counts.argmin())} of the batch has no tile; SEFE needs at least one an image")
    context = pad_sequence([tiles.flatten(0, 1) for tiles in semantic.split(counts.tolist())], batch_first=True)
    lengths = counts[:, None] * semantic.shape[1]
    return context, torch.arange(context.shape[1], device=semantic.device) >= lengths
