"""Which of the segmenter's queries an object is known by, and losses that teach a ``<seg>`` state to give it back.

Shape letters: N images, Q queries, E channels of an object token, K objects, h x w mask feature map, S target side.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lira_plugin.models.data_parallel import mean_count
from lira_plugin.models.pixel_encoder import PixelFeatures


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


def contrast_queries(
    recovered: Tensor, objects: Tensor, image_owner: Tensor, index: Tensor, sharpness: float = 20.0
) -> Tensor:
    """How hard it is to tell the query that each state gives back from those of the other objects of the batch (InfoNCE).

    The objects of other images are what matters: a state that only repeats what the words say ("a small red star") is near
    to the right query among the objects of one image, which mostly differ in their words, but as near to the small red
    stars of other images. Only what the image shows of the object tells those apart.

    Args:
        recovered: (K, E) queries as the states give them.
        objects: (N, Q, E) the queries of the images.
        image_owner: (K,) image of each object.
        index: (K,) query of each object.
        sharpness: factor of the mean squares of the differences, which are the negative logits.

    Returns:
        (K,) cross-entropies over the different queries that the K objects have.
    """
    places, target = (image_owner * objects.shape[1] + index).unique(return_inverse=True)
    candidates = objects.flatten(0, 1)[places].to(recovered.dtype)
    squares = (recovered[:, None] - candidates).square().mean(-1)
    return F.cross_entropy(-sharpness * squares, target, reduction="none")


def query_losses(
    recover: Callable[[Tensor], Tensor],
    states: Tensor,
    image_owner: Tensor,
    features: PixelFeatures,
    masks: Tensor,
    weights: Mapping[str, float],
) -> dict[str, Tensor]:
    """A ``<seg>`` state is to give the query of its object, as an object token does in the projection loss.

    Only for objects that a query segments, with an IoU above 0.5: groups and absent objects have none.

    Args:
        recover: from states (K, H) to queries (K, E).
        states: (K, H).
        image_owner: (K,) image of each state.
        features: of N images.
        masks: (K, S, S) bool, the object of each state.
        weights: of ``query``, the mean square of the difference, and ``contrast``, see :func:`contrast_queries`, which is
            with the objects of this process; 0 leaves the loss out.
    """
    best = best_queries(features.object_masks, masks, image_owner)
    known = best.iou > 0.5
    image_owner, index = image_owner[known], best.index[known]
    recovered, objects = recover(states[known]).float(), features.objects.float()
    count = mean_count(len(index), recovered.device)
    losses = {}
    if weight := weights["query"]:
        squares = F.mse_loss(recovered, objects[image_owner, index], reduction="sum")
        losses["loss_query"] = weight * squares / (count * objects.shape[-1])
    if weight := weights["contrast"]:
        losses["loss_contrast"] = weight * contrast_queries(recovered, objects, image_owner, index).sum() / count
    return losses
