"""Mask losses at sampled points (PointRend, as Mask2Former uses them)."""

from dataclasses import dataclass

import torch
from mmcv.ops import point_sample
from mmdet.models.utils import get_uncertain_point_coords_with_randomness
from torch import Tensor, nn

from lira_plugin.distributed import mean_count


@dataclass(frozen=True)
class PointSampling:
    """Where masks are compared.

    Args:
        num_points: points a mask.
        oversample_ratio: candidates a point, among which the most uncertain are chosen.
        importance_sample_ratio: share of points chosen by uncertainty, the rest at random.
    """

    num_points: int = 12544
    oversample_ratio: float = 3.0
    importance_sample_ratio: float = 0.75


def point_losses(
    mask_logits: list[Tensor], targets: Tensor, loss_mask: nn.Module, loss_dice: nn.Module, sampling: PointSampling
) -> dict[str, Tensor]:
    """Losses summed over decoder outputs and averaged over the masks of all training processes, in fp32.

    Args:
        mask_logits: J maps of (K, h, w).
        targets: (K, S, S) bool or 0..1; a mask may be empty.
        loss_mask, loss_dice: mmdet's point-wise cross-entropy and dice loss.
        sampling: how points are chosen.

    Returns:
        ``loss_mask`` and ``loss_dice``; with K = 0 both are an exact zero that still reaches the inputs.
    """
    num_masks, num_outputs = len(targets), len(mask_logits)
    logits = torch.stack(mask_logits, 1).float().flatten(0, 1)[:, None]
    count = mean_count(num_masks, logits.device)
    with torch.autocast(logits.device.type, enabled=False):
        if num_masks:
            with torch.no_grad():
                points = get_uncertain_point_coords_with_randomness(
                    logits, None, sampling.num_points, sampling.oversample_ratio, sampling.importance_sample_ratio
                )
                sampled = point_sample(targets[:, None].float(), points.view(num_masks, -1, 2))
                sampled = sampled.view(num_masks * num_outputs, sampling.num_points)
            predicted = point_sample(logits, points)[:, 0]
        else:  # both losses are run all the same: ZeRO-3 wants the same modules in every process
            predicted = logits.flatten(1)
            sampled = torch.zeros_like(predicted)
        return {
            "loss_mask": loss_mask(predicted.flatten(), sampled.flatten(), avg_factor=count * sampling.num_points),
            "loss_dice": loss_dice(predicted, sampled, avg_factor=count),
        }
