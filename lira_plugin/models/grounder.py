"""What generation asks of a LIRA: masks of states, and rows of views."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor

from lira_plugin.models.precision import autocast_to_weights
from lira_plugin.models.segmenter import Pyramid
from lira_plugin.structures import region_view


class LIRAGrounder:
    """The :class:`~lira_plugin.models.generation.Grounder` of a LIRA.

    An image is named by the pyramid of its batch and its place in it.

    Args:
        model: the LIRA.
    """

    def __init__(self, model: BaseModel) -> None:
        self.model, self.llm = model, model.llm

    def decode_masks(self, states: Tensor, features: Sequence[tuple[Pyramid, int]]) -> Tensor:
        """(K, H) states of ``<seg>`` to (K, h, w) mask logits: one call of the decoder for all."""
        pyramid, places = _one_pyramid(features)
        images = torch.tensor(places, device=states.device)
        with autocast_to_weights(self.model):
            return self.model.mask_decoder(states, images, pyramid, self.model.pixel_encoder.segmenter)[-1]

    def encode_views(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Tensor:
        """Cut a view of each (H, W, 3) image around its (H, W) mask; (n, tokens, H) rows of the semantic encoder."""
        encoder = self.model.semantic_encoder
        views = np.stack([region_view(image, mask, encoder.tile_size) for image, mask in zip(images, masks)])
        with autocast_to_weights(self.model):
            return encoder(torch.from_numpy(views).permute(0, 3, 1, 2).to(encoder.mean.device))


def _one_pyramid(images: Sequence[tuple[Pyramid, int]]) -> tuple[Pyramid, list[int]]:
    """One pyramid for images of several batches, with those alone, and the place of each in it."""
    batches = {id(pyramid): pyramid for pyramid, _ in images}
    if len(batches) == 1:
        return images[0][0], [place for _, place in images]
    numbers = {batch: number for number, batch in enumerate(batches)}
    named = [(numbers[id(pyramid)], place) for pyramid, place in images]
    wanted = sorted(set(named))
    places = {name: place for place, name in enumerate(wanted)}
    own = [torch.tensor([place for batch, place in wanted if batch == number]) for number in numbers.values()]
    parts = [pyramid.of(some) for pyramid, some in zip(batches.values(), own, strict=True)]
    return Pyramid.joined(parts), [places[name] for name in named]
