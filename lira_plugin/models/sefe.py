"""SEFE, the semantic-enhanced feature extractor: pixel and object tokens that have looked at the semantic tokens.

Shape letters: N images, T tiles in all, U semantic tokens a tile, P pixel tokens, Q object queries, C pixel channels, D query
channels, H width of the LLM.
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
        pixel_channels: C, the channels of :attr:`PixelFeatures.pixels` or of the tensor that stands for it; None for features
            that a projector of the model has brought to H already.
        object_channels: channels of :attr:`PixelFeatures.objects`, 2D; None for an encoder that has no object queries.
        hidden_size: H.
        query_channels: inner width of the object projection (6144 in LIRA, the unshuffled channels of the backbone); None
            without object queries.
        num_heads: heads of the cross-attention.
        enrich: False is "without SEFE": no cross-attention, no semantic tokens in the visual block.
        separators: whether there are embeddings of the two separators of a visual block. A model that has no such block
            sets it to False, since DDP asks for parameters that are all used.

    Raises:
        ValueError: only one of ``object_channels`` and ``query_channels`` is given.
    """

    def __init__(
        self,
        pixel_channels: int | None,
        object_channels: int | None,
        hidden_size: int,
        query_channels: int | None = None,
        num_heads: int = 32,
        enrich: bool = True,
        separators: bool = True,
    ) -> None:
        super().__init__()
        if (object_channels is None) != (query_channels is None):
            raise ValueError(
                f"object_channels={object_channels} and query_channels={query_channels} belong together: give both, or neither "
                "where there are no object queries"
            )
        self.query_proj = self.object_proj = self.semantic_separator = self.pixel_separator = None
        if object_channels is not None:
            self.query_proj = nn.Linear(object_channels, query_channels)
            self.object_proj = _mlp(query_channels, hidden_size)
        self.pixel_proj = nn.Identity() if pixel_channels is None else _mlp(pixel_channels, hidden_size)
        if separators:
            self.semantic_separator = nn.Parameter(torch.randn(hidden_size) * 0.02)
            self.pixel_separator = nn.Parameter(torch.randn(hidden_size) * 0.02)
        self.enrich = SemanticAttention(hidden_size, num_heads) if enrich else None

    def project_objects(self, objects: Tensor) -> Tensor:
        """(..., 2D) object features to (..., H), before any look at the semantic tokens."""
        return self.object_proj(self.query_proj(objects))

    def forward(
        self,
        features: PixelFeatures | Tensor,
        semantic: Tensor,
        tile_image: Tensor | None = None,
        objects: Tensor | None = None,
    ) -> VisualTokens:
        """Fuse. Two tensors are enough: ``sefe(pixels, semantic)``.

        Args:
            features: of N images: those of a pixel encoder, or its pixel features alone, (N, P, C).
            semantic: (T, U, H) of all tiles. Of wider ones (:mod:`lira_plugin.models.deep_stack`) the first H are looked at.
            tile_image: (T,) image of each tile, ascending; None where each image has one tile, so that T is N.
            objects: (N, Q, 2D) object features, all of them valid, beside pixel features that are a tensor; None without.

        Raises:
            ValueError: an image has no tile, or there are object features without a projection for them, or the other way round.
        """
        pixels, objects, object_valid = self._parts(features, objects)
        pixels = self.pixel_proj(pixels)
        objects = pixels[:, :0] if objects is None else self.project_objects(objects)
        if self.enrich is None:
            return VisualTokens(semantic[:0], pixels, objects, object_valid)
        context, padding = _pad_by_image(semantic[..., : pixels.shape[-1]], tile_image, len(pixels))
        if self.object_proj is not None:
            objects = self.enrich(objects, context, padding)
        pixels = self.enrich(pixels, context, padding)
        return VisualTokens(semantic, pixels, objects, object_valid)

    def _parts(self, features: PixelFeatures | Tensor, objects: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
        """Pixel features, object features and which of these are valid."""
        if not isinstance(features, Tensor):
            if objects is not None:
                raise ValueError("PixelFeatures have object features of their own: give objects beside a tensor only")
            pixels, objects, object_valid = features.pixels, features.objects, features.object_valid
        else:
            pixels = features
            shape = pixels.shape[:1] + (objects.shape[1:2] if objects is not None else (0,))
            object_valid = torch.ones(shape, dtype=torch.bool, device=pixels.device)
        if (objects is None) != (self.object_proj is None):
            raise ValueError(
                "object features are given, but SEFE was made without a projection for them: set object_channels and "
                "query_channels"
                if objects is not None
                else "SEFE was made for object features, and there are none: give objects, or set object_channels=None"
            )
        return pixels, objects, object_valid


@MODELS.register_module()
class SemanticAttention(nn.Module):
    """Pre-norm cross-attention onto the semantic tokens with a residual connection: the core of :class:`SEFE`.

    Args:
        hidden_size: H, a multiple of ``num_heads``.
        num_heads: heads of the attention.
    """

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.norm_query = nn.LayerNorm(hidden_size)
        self.norm_context = nn.LayerNorm(hidden_size)
        self.attention = nn.MultiheadAttention(hidden_size, num_heads, batch_first=True)

    def forward(self, tokens: Tensor, context: Tensor, padding: Tensor | None = None) -> Tensor:
        """Let tokens look at others.

        Args:
            tokens: (N, n, H).
            context: (N, m, H).
            padding: (N, m) bool, True for those of ``context`` that are void; None where none is.
        """
        context = self.norm_context(context)
        attended, _ = self.attention(
            self.norm_query(tokens), context, context, key_padding_mask=padding, need_weights=False
        )
        return tokens + attended


def _mlp(channels: int, hidden_size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size))


def _pad_by_image(semantic: Tensor, tile_image: Tensor | None, num_images: int) -> tuple[Tensor, Tensor | None]:
    """(T, U, H) to (N, most tiles * U, H) and the padding mask (N, most tiles * U), None where nothing is padded."""
    if tile_image is None:
        if len(semantic) != num_images:
            raise ValueError(
                f"there are {len(semantic)} tiles of {num_images} images: without tile_image each image needs exactly one"
            )
        return semantic, None
    counts = torch.bincount(tile_image, minlength=num_images)
    if num_images and int(counts.min()) == 0:
        raise ValueError(f"image {int(counts.argmin())} of the batch has no tile; SEFE needs at least one an image")
    context = pad_sequence([tiles.flatten(0, 1) for tiles in semantic.split(counts.tolist())], batch_first=True)
    lengths = counts[:, None] * semantic.shape[1]
    return context, torch.arange(context.shape[1], device=semantic.device) >= lengths
