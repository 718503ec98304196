"""Encodings of images, kept for further questions about them."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from lira_plugin.models.visual_blocks import EncodedImages, image_inputs, split_for_memory
from lira_plugin.precision import autocast_to_weights
from lira_plugin.structures import GroundingBatch


class EncodedImageCache:
    """Encodes images, and keeps the encodings that were used last, within a bound of bytes.

    What is kept has no gradients. Use it from one thread, and not while the weights change.

    Args:
        model: the LIRA.
        max_bytes: of all that is kept; 0 keeps nothing.
    """

    def __init__(self, model: BaseModel, max_bytes: int) -> None:
        self.model, self.max_bytes = model, max_bytes
        self.hits = self.misses = self.num_bytes = 0
        self._kept: OrderedDict[Hashable, tuple[EncodedImages, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def encode(self, batch: GroundingBatch, keys: Sequence[Hashable]) -> list[EncodedImages]:
        """Encode the images of a batch, each by itself and without views; those that were not kept in one call.

        Args:
            batch: prompts.
            keys: names the images, in their order; of a batch without any, what names that.
        """
        known = {key: self._kept[key][0] for key in keys if key in self._kept}
        for key in known:
            self._kept.move_to_end(key)
        missing = [image for image, key in enumerate(keys) if key not in known]
        self.hits += len(keys) - len(missing)
        self.misses += len(missing)
        if missing:
            encoded = self._encode(batch, missing if len(batch.pixel_images) else None)
            for index, image in enumerate(missing):
                known[keys[image]] = encoded.of(index)
                self._keep(keys[image], known[keys[image]])
        return [known[key] for key in keys]

    def with_views(self, image: EncodedImages, batch: GroundingBatch) -> EncodedImages:
        """The encoding of the one image of a batch, with the views of its earlier turns."""
        views = image_inputs(batch, read_tiles=False).views
        if not len(views):
            return image
        return image._replace(views=torch.cat([self.model.semantic_encoder(part) for part in split_for_memory(views)]))

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self.num_bytes = 0

    @torch.inference_mode()
    def _encode(self, batch: GroundingBatch, images: list[int] | None) -> EncodedImages:
        """Encode some of the images; None stands for a batch of text, which is run with a black one."""
        batch = batch._replace(view_tiles=batch.view_tiles[:0], view_sample=batch.view_sample[:0])
        if images is not None:
            tiles = [(batch.tile_image == image).nonzero()[:, 0] for image in images]
            counts = torch.tensor([len(own) for own in tiles], device=batch.tile_image.device)
            batch = batch._replace(
                pixel_images=batch.pixel_images[images],
                tiles=batch.tiles[torch.cat(tiles)],
                tile_image=torch.arange(len(images), device=counts.device).repeat_interleave(counts),
            )
        with autocast_to_weights(self.model):
            return self.model.encode_images(batch)

    def _keep(self, key: Hashable, encoded: EncodedImages) -> None:
        size = sum(tensor.untyped_storage().nbytes() for tensor in _tensors(encoded))
        if size > self.max_bytes:
            return
        self._kept[key] = encoded, size
        self.num_bytes += size
        while self.num_bytes > self.max_bytes:
            self.num_bytes -= self._kept.popitem(last=False)[1][1]


def _tensors(content: Any) -> Iterator[Tensor]:
    """All tensors of nested tuples."""
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Sequence) and not isinstance(content, str):
        for part in content:
            yield from _tensors(part)
