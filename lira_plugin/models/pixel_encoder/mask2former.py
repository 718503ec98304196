"""Mask2Former's transformer decoder with its mask embedding: from queries, and what is known of images, to masks.

Shape letters: N images, Q queries, D feature channels, h x w mask feature map.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DecoderMemory(NamedTuple):
    """What the transformer decoder reads of the images: the pixel decoder's outputs."""

    mask_features: Tensor
    """(N, D, h, w)."""
    memories: tuple[Tensor, ...]
    """One (N, h_i * w_i, D) a level, from low to high resolution, level embedding added."""
    positions: tuple[Tensor, ...]
    """Sine position encodings, one (1, h_i * w_i, D) a level: those of all images."""
    sizes: tuple[tuple[int, int], ...]
    """(h_i, w_i) of each level."""

    def of(self, images: Tensor) -> "DecoderMemory":
        """The memory of some of the images, given by their indices."""
        memories = tuple(level[images] for level in self.memories)
        return DecoderMemory(self.mask_features[images], memories, self.positions, self.sizes)

    @classmethod
    def joined(cls, parts: "Sequence[DecoderMemory]") -> "DecoderMemory":
        """The memory of the images of all parts, which have equal sizes."""
        memories = tuple(map(torch.cat, zip(*(part.memories for part in parts))))
        return cls(torch.cat([part.mask_features for part in parts]), memories, parts[0].positions, parts[0].sizes)


class Decoded(NamedTuple):
    """What the decoder made of queries. It has an output before its first layer and one after each layer."""

    query_features: Tensor
    """(N, Q, D) after the last layer."""
    normed_queries: list[Tensor]
    """One (N, Q, D) an output: the query features after the decoder's norm, which a classifier reads."""
    mask_logits: list[Tensor]
    """One (N, Q, h, w) an output."""


class Mask2FormerDecoder(nn.Module):
    """A transformer decoder whose queries look where their last mask was (arXiv 2112.01527, section 3.2).

    It joins two modules of a segmenter and adds no weights. The segmenter registers these two under mmdet's names, so its
    property ``decoder`` makes this module on every access and does not register it. A decoder with weights of its own is a deep
    copy.

    Args:
        transformer_decoder: mmdet's ``Mask2FormerTransformerDecoder``: its layers and its norm.
        mask_embed: makes of a normed query (D) the vector that is multiplied with the mask features.
    """

    def __init__(self, transformer_decoder: nn.Module, mask_embed: nn.Module) -> None:
        super().__init__()
        self.transformer_decoder = transformer_decoder
        self.mask_embed = mask_embed

    def forward(
        self,
        decoder_memory: DecoderMemory,
        query_features: Tensor,
        query_positions: Tensor,
        independent: bool = False,
        last_only: bool = False,
    ) -> Decoded:
        """Decode queries.

        Args:
            decoder_memory: of N images.
            query_features: (N, Q, D).
            query_positions: (N, Q, D).
            independent: cut the self-attention between queries, so that each is decoded as if it were alone.
            last_only: keep the last output alone. The mask logits of 300 queries at 256 x 256 are 79 MB an image and output.
        """
        blocked = None
        if independent:
            indices = torch.arange(query_features.shape[1], device=query_features.device)
            blocked = indices[:, None] != indices
        outputs = [self._output(query_features, decoder_memory)]
        for index, layer in enumerate(self.transformer_decoder.layers):
            level = index % len(decoder_memory.memories)
            outside = blocked_cells(outputs[-1][1], decoder_memory.sizes[level])
            query_features = layer(
                query=query_features,
                key=decoder_memory.memories[level],
                value=decoder_memory.memories[level],
                query_pos=query_positions,
                key_pos=decoder_memory.positions[level],
                self_attn_mask=blocked,
                cross_attn_mask=outside.repeat_interleave(layer.cross_attn.num_heads, dim=0),
            )
            if last_only:
                outputs.clear()
            outputs.append(self._output(query_features, decoder_memory))
        normed_queries, mask_logits = zip(*outputs)
        return Decoded(query_features, list(normed_queries), list(mask_logits))

    def _output(self, query_features: Tensor, decoder_memory: DecoderMemory) -> tuple[Tensor, Tensor]:
        """Normed queries and mask logits."""
        normed = self.transformer_decoder.post_norm(query_features)
        return normed, torch.einsum("nqc,nchw->nqhw", self.mask_embed(normed), decoder_memory.mask_features)


def blocked_cells(mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Cells of a level that queries must not look at: those outside of their masks.

    Args:
        mask_logits: (N, Q, h, w).
        size: (height, width) of the level.

    Returns:
        (N, Q, height * width) bool; a query whose mask is empty sees everything.
    """
    resized = F.interpolate(mask_logits.detach().float(), size, mode="bilinear", align_corners=False)
    blocked = resized.flatten(2) < 0
    return blocked & ~blocked.all(-1, keepdim=True)
