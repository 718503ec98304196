"""Which of the segmenter's queries an object is known by.

Shape letters: N images, Q queries, K objects, h x w mask feature map, S target side.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class BestQueries(NamedTuple):
    """For each object the query whose mask overlaps it most."""

    index: Tensor
    """(K,) long, 0..Q-1."""
    iou: Tensor
    """(K,) in 0..1."""


@torch.no_grad()
def best_queries(object_masks: Tensor, masks: Tensor, image_owner: Tensor) -> BestQueries:
    """Find the query of each object.

    Args:
        object_masks: (N, Q, h, w) bool, what each query segments.
        masks: (K, S, S) bool; an empty one has an IoU of 0 with all.
        image_owner: (K,) image of each object.
    """
    truth = F.interpolate(masks[:, None].float(), object_masks.shape[-2:], mode="area").flatten(1)
    index, iou = image_owner.new_zeros(len(masks)), truth.new_zeros(len(masks))
    for image in image_owner.unique().tolist():  # one at a time: 300 queries at 256 x 256 are 80 MB in fp32
        own = image_owner == image
        candidates = object_masks[image].flatten(1).float()
        shared = truth[own] @ candidates.T
        union = truth[own].sum(1, keepdim=True) + candidates.sum(1) - shared
        iou[own], index[own] = (shared / union.clamp(min=1e-6)).max(1)
    return BestQueries(index, iou)
