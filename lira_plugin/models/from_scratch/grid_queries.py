"""What the matching of queries and objects compares so that grid queries keep to their points."""

from typing import Any

import torch
from mmdet.models.task_modules.assigners.match_cost import BaseMatchCost
from mmengine.structures import InstanceData
from torch import Tensor

from lira_plugin.registry import TASK_UTILS


@TASK_UTILS.register_module()
class AnchorCost(BaseMatchCost):
    """Distance between the point of a grid query and the centre of an object.

    A mask cost alone lets a grid query drift to any part of the image, and then nothing of it tells where its object
    is. With this cost a query answers for its surroundings, as in Anchor DETR (arXiv 2109.07107, where the cost of boxes
    does the same), and an object token says where its object is.

    Args:
        weight: factor of the L1 distance, which is a share of the image's sides.
    """

    def __call__(
        self, pred_instances: InstanceData, gt_instances: InstanceData, img_meta: Any = None, **kwargs: Any
    ) -> Tensor:
        """(Q, M) cost of (Q, 2) ``pred_instances.anchors`` and (M, 2) ``gt_instances.centres``.

        Raises:
            ValueError: the queries have no anchors.
        """
        if "anchors" not in pred_instances:
            raise ValueError(
                "AnchorCost needs queries with anchors: take PromptedSegmenter(grid_queries=True) for the segmenter"
            )
        return self.weight * torch.cdist(pred_instances.anchors, gt_instances.centres, p=1)


def grid_points(side: int, device: torch.device | str = "cpu") -> Tensor:
    """(side * side, 2) x and y of the cells' middles in a square grid over the unit square, row by row."""
    steps = (torch.arange(side, device=device) + 0.5) / side
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([columns, rows], -1).flatten(0, 1)


def mask_centres(masks: Tensor) -> Tensor:
    """(M, 2) x and y of the centroids of (M, h, w) masks, as shares of the sides; the middle for an empty mask.

    Without a matrix product: autocast would do that in 16 bits, in which an area times a place may be infinite.
    """
    centres = []
    for across in (1, 2):
        profile = masks.float().sum(across)
        steps = (torch.arange(profile.shape[1], device=masks.device) + 0.5) / profile.shape[1]
        total = profile.sum(1)
        centres.append(torch.where(total > 0, (profile * steps).sum(1) / total.clamp(min=1e-6), 0.5))
    return torch.stack(centres, -1)
