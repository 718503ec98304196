"""Encodings of images, kept for further questions about them."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from lira_plugin.models.visual_blocks import EncodedImages, image_inputs, split_for_memory
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

    def encode(self, batch: GroundingBatch, key: Hashable) -> EncodedImages:
        """Encode a batch of prompts, all about one image or all without one: what its model would give, for generation.

        Args:
            batch: the prompts. Views of earlier turns are encoded anew.
            key: names the image. One that was kept is not encoded again.
        """
        if key in self._kept:
            self.hits += 1
            self._kept.move_to_end(key)
            encoded = self._kept[key][0]
        else:
            self.misses += 1
            encoded = self._encode(batch)
            self._keep(key, encoded)
        views = image_inputs(batch, read_tiles=False).views
        if not len(views):
            return encoded
        return encoded._replace(
            views=torch.cat([self.model.semantic_encoder(part) for part in split_for_memory(views)])
        )

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()
        self.num_bytes = 0

    def _encode(self, batch: GroundingBatch) -> EncodedImages:
        without_views = batch._replace(view_tiles=batch.view_tiles[:0], view_sample=batch.view_sample[:0])
        encoded = self.model.encode_images(without_views)
        features = encoded.features
        unused = {name: getattr(features, name).new_zeros(0) for name in _UNUSED}
        return encoded._replace(features=features._replace(**unused))

    def _keep(self, key: Hashable, encoded: EncodedImages) -> None:
        size = sum(tensor.untyped_storage().nbytes() for tensor in _tensors(encoded))
        if size > self.max_bytes:
            return
        self._kept[key] = encoded, size
        self.num_bytes += size
        while self.num_bytes > self.max_bytes:
            self.num_bytes -= self._kept.popitem(last=False)[1][1]


_UNUSED = ("pixels", "objects", "object_valid", "object_masks")
"""Features that the visual tokens were made of, which generation has no more use for."""


def _tensors(content: Any) -> Iterator[Tensor]:
    """All tensors of nested tuples."""
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Sequence) and not isinstance(content, str):
        for part in content:
            yield from _tensors(part)
