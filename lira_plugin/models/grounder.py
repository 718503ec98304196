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
        """(K, H) states of ``<seg>`` to (K, h, w) mask logits: one call of the decoder for each batch of images."""
        batches: dict[int, list[int]] = {}
        for number, (pyramid, _) in enumerate(features):
            batches.setdefault(id(pyramid), []).append(number)
        logits: list[Tensor | None] = [None] * len(features)
        segmenter = self.model.pixel_encoder.segmenter
        for numbers in batches.values():
            images = torch.tensor([features[number][1] for number in numbers], device=states.device)
            with autocast_to_weights(self.model):
                decoded = self.model.mask_decoder(states[numbers], images, features[numbers[0]][0], segmenter)
            for number, mask in zip(numbers, decoded[-1]):
                logits[number] = mask
        return torch.stack(logits)

    def encode_views(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Tensor:
        """Cut a view of each (H, W, 3) image around its (H, W) mask; (n, tokens, H) rows of the semantic encoder."""
        encoder = self.model.semantic_encoder
        views = np.stack([region_view(image, mask, encoder.tile_size) for image, mask in zip(images, masks)])
        with autocast_to_weights(self.model):
            return encoder(torch.from_numpy(views).permute(0, 3, 1, 2).to(encoder.mean.device))
