"""From the images of a batch to their positions in the sequences. Several sequences may share an image.

Shape letters: B samples, L positions, N images, T tiles, R views, U tokens a tile, H width of the LLM.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lira_plugin.models.pixel_encoder.pixel_encoder import PixelFeatures
from lira_plugin.models.sefe import SEFE, VisualTokens
from lira_plugin.structures import GroundingBatch, GroundingSample, TokenKind
from lira_plugin.tokens import seg_positions

PIXELS_TOGETHER = 2**23
"""Pixels that an encoder without gradients is given in one call: 8 images of 1024 x 1024, or 41 tiles of 448 x 448."""


class EncodedImages(NamedTuple):
    """What the encoders and SEFE make of a batch. A batch of text has the features of one black image, to no effect."""

    features: PixelFeatures
    tokens: VisualTokens
    """Of the images."""
    tile_image: Tensor
    """(T,) image of each tile."""
    views: Tensor
    """(R, U, H) tokens of the views."""

    def of(self, image: int) -> "EncodedImages":
        """What generation needs of one image, in memory of its own, without views."""
        index = torch.tensor([image], device=self.tile_image.device)
        tokens, memory = self.tokens, self.features.decoder_memory.of(index)
        semantic = tokens.semantic[self.tile_image == image] if len(tokens.semantic) else tokens.semantic
        own = VisualTokens(semantic, tokens.pixels[index], tokens.objects[index], tokens.object_valid[index])
        none = self.views.new_zeros(0)  # of the features, the tokens were made
        tile_image = torch.zeros_like(self.tile_image[self.tile_image == image])
        return EncodedImages(PixelFeatures(none, none, none, none, memory), own, tile_image, self.views[:0].clone())


class ImageInputs(NamedTuple):
    """What the encoders read of a batch."""

    pixel_images: Tensor
    """(N, 3, S, S) uint8."""
    tiles: Tensor
    """(T, 3, t, t) uint8."""
    tile_image: Tensor
    """(T,) image of each tile."""
    views: Tensor
    """(R, 3, t, t) uint8."""


def image_inputs(batch: GroundingBatch, read_tiles: bool) -> ImageInputs:
    """What the encoders read of a batch: one black image and tile where it is text only, so that every process runs them.

    Args:
        batch: the batch.
        read_tiles: False where nothing reads the semantic tokens of images; one tile keeps the encoder in the graph.
    """
    if len(batch.pixel_images):
        pixel_images, tiles, tile_image = batch.pixel_images, batch.tiles, batch.tile_image
    else:
        pixel_images = batch.pixel_images.new_zeros((1, *batch.pixel_images.shape[1:]))
        tiles = batch.tiles.new_zeros((1, *batch.tiles.shape[1:]))
        tile_image = batch.tile_image.new_zeros(1)
    if not read_tiles:
        tiles, tile_image = tiles[:1], tile_image[:1]
    return ImageInputs(pixel_images, tiles, tile_image, batch.view_tiles.reshape(-1, *tiles.shape[1:]))


def split_for_memory(images: Tensor) -> Sequence[Tensor]:
    """Split (N, 3, S, S) images for an encoder without gradients, which then takes the memory of a part alone."""
    if torch.is_grad_enabled():
        return (images,)
    return images.split(max(1, PIXELS_TOGETHER // images.shape[-2:].numel()))


def features_by_kind(batch: GroundingBatch, images: EncodedImages, sefe: SEFE) -> Mapping[TokenKind, Tensor]:
    """The features that the positions of each kind hold, (n, H) each, in row-major order of the sequences.

    Raises:
        ValueError: SEFE was made without separators, which visual blocks have.
    """
    if sefe.semantic_separator is None:
        raise ValueError(
            "the visual blocks of a LIRA have separators, but its SEFE has none: leave separators=False out"
        )
    tokens = images.tokens
    if len(batch.pixel_images):
        tokens = tokens_of_blocks(tokens, images.tile_image, batch.block_image)
    num_blocks = len(tokens.pixels)
    return {
        TokenKind.SEMANTIC: tokens.semantic.flatten(0, 1),
        TokenKind.SEMANTIC_SEPARATOR: sefe.semantic_separator.expand(num_blocks, -1),
        TokenKind.PIXEL: tokens.pixels.flatten(0, 1),
        TokenKind.PIXEL_SEPARATOR: sefe.pixel_separator.expand(num_blocks, -1),
        TokenKind.OBJECT: tokens.objects.flatten(0, 1),
        TokenKind.VIEW: images.views.flatten(0, 1),
    }


def tokens_of_blocks(tokens: VisualTokens, tile_image: Tensor, block_image: Tensor) -> VisualTokens:
    """Repeat the tokens of images for the visual blocks that show them, in the order of the blocks."""
    images = block_image.tolist()
    if images == list(range(len(tokens.pixels))):
        return tokens
    semantic = tokens.semantic
    if len(semantic):
        tiles = [(tile_image == image).nonzero()[:, 0] for image in range(len(tokens.pixels))]
        semantic = semantic[torch.cat([tile_image[:0], *(tiles[image] for image in images)])]
    return VisualTokens(
        semantic, tokens.pixels[block_image], tokens.objects[block_image], tokens.object_valid[block_image]
    )


def visible_positions(batch: GroundingBatch, images: EncodedImages) -> Tensor:
    """(B, L) bool: the attention mask of a batch, with the positions of unused object tokens cleared."""
    if not len(batch.pixel_images):
        return batch.attention_mask
    return object_attention(batch, images.tokens.object_valid[batch.block_image])


def object_attention(batch: GroundingBatch, object_valid: Tensor) -> Tensor:
    """The attention mask of a batch with unused object tokens cleared; ``object_valid`` is (blocks, Q) bool."""
    return batch.attention_mask.masked_scatter(batch.kinds == TokenKind.OBJECT, object_valid.flatten())


def image_of_sample(batch: GroundingBatch) -> Tensor:
    """(B,) index of the first image of each sample, 0 where it has none."""
    counts = torch.bincount(batch.block_sample, minlength=len(batch.input_ids))
    first = (counts.cumsum(0) - counts).clamp(max=max(len(batch.block_image) - 1, 0))
    return torch.where(counts > 0, batch.block_image[first], 0) if len(batch.block_image) else torch.zeros_like(counts)


def supervised_segs(
    batch: GroundingBatch, hidden: Tensor, seg_id: int, data_samples: Sequence[GroundingSample] | None = None
) -> tuple[Tensor, Tensor]:
    """States (K, H) of the supervised ``<seg>`` tokens, in the order of ``batch.seg_mask_index``, and the image (K,) of each.

    Args:
        batch: with labels and masks.
        hidden: (B, L, H).
        seg_id: id of ``<seg>``.
        data_samples: for their names in the message.

    Raises:
        ValueError: there are more or fewer than masks.
    """
    is_seg = seg_positions(batch.labels, seg_id)
    if int(is_seg.sum()) != len(batch.seg_mask_index):
        names = [sample.name for sample in data_samples or ()]
        raise ValueError(
            f"{int(is_seg.sum())} <seg> tokens are supervised but {len(batch.seg_mask_index)} masks are given for them, in "
            f"the batch of {names or len(batch.labels)}"
        )
    return hidden[is_seg], image_of_sample(batch).to(is_seg.device)[is_seg.nonzero(as_tuple=True)[0]]


def slice_batch(batch: GroundingBatch, images: EncodedImages, some: slice) -> tuple[GroundingBatch, EncodedImages]:
    """Some of the sequences of a batch, with all of its images.

    Only what ``LIRA.embed_sequence`` reads is cut: ``view_tiles``, ``view_sample`` and masks stay those of the whole batch.
    """
    blocks, views = (
        (sample >= some.start) & (sample < some.stop) for sample in (batch.block_sample, batch.view_sample)
    )
    sequences = {name: getattr(batch, name)[some] for name in ("input_ids", "attention_mask", "labels", "kinds")}
    shown = {"block_sample": batch.block_sample[blocks] - some.start, "block_image": batch.block_image[blocks]}
    return batch._replace(**sequences, **shown), images._replace(views=images.views[views])
