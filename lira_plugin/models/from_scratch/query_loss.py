"""A ``<seg>`` state learns the query of its object.

Shape letters: N images, Q queries, K objects, h x w mask feature map, S target side.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lira_plugin.distributed import mean_count
from lira_plugin.models.extra_losses import SegLossInputs
from lira_plugin.registry import MODELS

KNOWN_IOU = 0.5
"""A query knows an object if their masks overlap by more than this."""


class BestQueries(NamedTuple):
    """For each object the query whose mask overlaps it most."""

    index: Tensor
    """(K,) long, 0..Q-1."""
    iou: Tensor
    """(K,) in 0..1."""


@MODELS.register_module()
class QueryLoss(nn.Module):
    """Asks a ``<seg>`` state for the query of its object, as the projection loss asks an object token.

    The paper has no such loss. It tells an LLM that starts from nothing which object is meant, much sooner than masks do. Objects
    that no query segments with an IoU above 0.5 are left out: groups and absent objects have no query.

    Args:
        weight: factor of the loss, a mean square over the objects of all training processes.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, inputs: SegLossInputs) -> dict[str, Tensor]:
        """``loss_query``, in fp32."""
        best = best_queries(inputs.features.object_masks, inputs.masks, inputs.state_image)
        known = best.iou > KNOWN_IOU
        queries = inputs.features.objects[inputs.state_image[known], best.index[known]].float()
        projected = inputs.mask_decoder.project(inputs.states[known]).float()
        squares = F.mse_loss(projected, queries, reduction="sum")
        count = mean_count(len(queries), squares.device) * queries.shape[-1]
        return {"loss_query": self.weight * squares / count}


@torch.no_grad()
def best_queries(object_masks: Tensor, masks: Tensor, state_image: Tensor) -> BestQueries:
    """Find the query of each object.

    Args:
        object_masks: (N, Q, h, w) bool, what each query segments.
        masks: (K, S, S) bool; an empty one has an IoU of 0 with all.
        state_image: (K,) image of each object.
    """
    truth = F.interpolate(masks[:, None].float(), object_masks.shape[-2:], mode="area").flatten(1)
    index, iou = state_image.new_zeros(len(masks)), truth.new_zeros(len(masks))
    for image in state_image.unique().tolist():  # one at a time: 300 queries at 256 x 256 are 80 MB in fp32
        own = state_image == image
        candidates = object_masks[image].flatten(1).float()
        shared = truth[own] @ candidates.T
        union = truth[own].sum(1, keepdim=True) + candidates.sum(1) - shared
        iou[own], index[own] = (shared / union.clamp(min=1e-6)).max(1)
    return BestQueries(index, iou)
