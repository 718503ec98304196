"""Metrics: pure functions that do the arithmetic, and one MMEngine metric a file."""

from lira_plugin.evaluation.mask_iou import (
    intersection_union,
    iou,
    iou_from_counts,
    iou_matrix,
    match_masks,
    mean_matched_iou,
)
from lira_plugin.evaluation.refer_seg_metric import ReferSegMetric

__all__ = [
    "ReferSegMetric",
    "intersection_union",
    "iou",
    "iou_from_counts",
    "iou_matrix",
    "match_masks",
    "mean_matched_iou",
]
