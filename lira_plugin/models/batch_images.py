"""What the sequences of a batch have of its images, which several of them may share."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lira_plugin.models.generation import Prefix
from lira_plugin.models.interleaved_llm import object_attention
from lira_plugin.models.pixel_encoder import PixelFeatures
from lira_plugin.models.sefe import VisualTokens
from lira_plugin.structures import GroundingBatch, RowKind

PIXELS_TOGETHER = 2**23
"""Pixels that an encoder without gradients is given in one call: 8 images of 1024 x 1024, or 41 tiles of 448 x 448."""


class Seen(NamedTuple):
    """What the encoders make of a batch."""

    features: PixelFeatures
    tokens: VisualTokens
    """Of the images."""
    tile_owner: Tensor
    """Image of each tile."""
    regions: Tensor
    """(R, tokens, H) of the region views."""


def image_of_sample(batch: GroundingBatch) -> Tensor:
    """(B,) index of the first image of each sample, 0 where it has none."""
    counts = torch.bincount(batch.block_owner, minlength=len(batch.input_ids))
    first = (counts.cumsum(0) - counts).clamp(max=max(len(batch.block_image) - 1, 0))
    return torch.where(counts > 0, batch.block_image[first], 0) if len(batch.block_image) else torch.zeros_like(counts)


def shared_prefixes(batch: GroundingBatch, visible: Tensor) -> list[Prefix | None]:
    """The longest start that samples about the same images share, as rows that are visible; None where a sample is alone."""
    owners, images = batch.block_owner.tolist(), batch.block_image.tolist()
    keys = [tuple(image for owner, image in zip(owners, images) if owner == row) for row in range(len(batch.input_ids))]
    prefixes: list[Prefix | None] = [None] * len(keys)
    batch_key = object()  # unlike an id, never that of a later batch
    for key in set(keys):
        rows = [row for row, own in enumerate(keys) if own == key]
        if len(rows) < 2:
            continue
        ids, kinds = batch.input_ids[rows], batch.kinds[rows]
        same = (ids == ids[:1]).all(0) & (kinds == kinds[:1]).all(0) & (kinds != RowKind.REGION).all(0)
        shortest = int(batch.attention_mask[rows].sum(1).min())
        length = min(int(same.long().cumprod(0).sum()), shortest - 1)
        kept = int(visible[rows[0], :length].sum())
        if kept:
            for row in rows:
                prefixes[row] = Prefix((batch_key, key), kept)
    return prefixes


def repeat_shared(tokens: VisualTokens, tile_owner: Tensor, block_image: Tensor) -> VisualTokens:
    """From tokens of images to tokens of visual blocks."""
    images = block_image.tolist()
    if images == list(range(len(tokens.pixels))):
        return tokens
    semantic = tokens.semantic
    if len(semantic):
        tiles = [(tile_owner == image).nonzero()[:, 0] for image in range(len(tokens.pixels))]
        semantic = semantic[torch.cat([tile_owner[:0], *(tiles[image] for image in images)])]
    return VisualTokens(
        semantic, tokens.pixels[block_image], tokens.objects[block_image], tokens.object_valid[block_image]
    )


def visible_rows(batch: GroundingBatch, seen: Seen) -> Tensor:
    """(B, L) bool, without the rows of unused object tokens."""
    if not len(batch.pixel_images):
        return batch.attention_mask
    return object_attention(batch, seen.tokens.object_valid[batch.block_image])


def in_parts(images: Tensor) -> Sequence[Tensor]:
    """Split (N, 3, S, S) images for an encoder without gradients, which then takes the memory of a part alone."""
    if torch.is_grad_enabled():
        return (images,)
    return images.split(max(1, PIXELS_TOGETHER // images.shape[-2:].numel()))


def part_of(batch: GroundingBatch, seen: Seen, some: slice) -> tuple[GroundingBatch, Seen]:
    """Some of the sequences of a batch, with all of its images."""
    blocks, regions = ((owner >= some.start) & (owner < some.stop) for owner in (batch.block_owner, batch.region_owner))
    sequences = {name: getattr(batch, name)[some] for name in ("input_ids", "attention_mask", "labels", "kinds")}
    owners = {"block_owner": batch.block_owner[blocks] - some.start, "block_image": batch.block_image[blocks]}
    return batch._replace(**sequences, **owners), seen._replace(regions=seen.regions[regions])


def blank_image(batch: GroundingBatch) -> tuple[Tensor, Tensor, Tensor]:
    """One black image with one black tile, in the sizes of the batch."""
    return (
        batch.pixel_images.new_zeros((1, *batch.pixel_images.shape[1:])),
        batch.tiles.new_zeros((1, *batch.tiles.shape[1:])),
        batch.tile_owner.new_zeros(1),
    )
