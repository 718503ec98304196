"""Scores of named instances, as COCO's evaluation has them, and how well their masks fit.

Each image is scored alone, and of its masks nothing is kept. :func:`summarize_instances` then says what all images say together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from lira_plugin.evaluation.coco_average_precision import (
    COCO_CRITERIA,
    ImageMatches,
    image_matches,
    mean_precision,
    precisions,
)
from lira_plugin.evaluation.coco_truth import CocoTruth
from lira_plugin.evaluation.gcg_scores import checked_rles, greedy_mean_iou, rle_overlaps

NOTHING = -1.0
"""A figure over true instances where there is none, as COCO's evaluation has it."""


@dataclass(frozen=True)
class CocoPrediction:
    """Instances that any model found in an image; the sequences have an entry for each.

    Args:
        name: where it comes from, for messages.
        categories: index of the category of each.
        segmentations: in any COCO form at the size of the image.
        scores: finite; the greatest is the surest.
        without_category: masks that are left out, since what they are called is no category.
        is_missing: whether there is no prediction for the image; then it is this empty one.
    """

    name: str
    categories: tuple[int, ...] = ()
    segmentations: tuple[Any, ...] = ()
    scores: tuple[float, ...] = ()
    without_category: int = 0
    is_missing: bool = False


@dataclass(frozen=True)
class InstanceScores:
    """What is kept of an image.

    Args:
        truth_count: true instances: annotations that are no crowd and have a pixel.
        mask_count: masks of a category.
        mean_iou: as :func:`summarize_instances` says; None without a true instance.
        category_mean_iou: likewise, with pairs of the same category alone.
        matches: for average precision.
    """

    image_id: int | str
    is_missing: bool
    truth_count: int
    mask_count: int
    without_category: int
    mean_iou: float | None
    category_mean_iou: float | None
    matches: ImageMatches

    def to_json(self) -> dict[str, Any]:
        """A line for the analysis of errors."""
        return {
            "image_id": self.image_id,
            "missing": self.is_missing,
            "true_masks": self.truth_count,
            "masks": self.mask_count,
            "without_category": self.without_category,
            "mIoU": self.mean_iou,
            "mIoU_category": self.category_mean_iou,
        }


def score_instances(truth: CocoTruth, prediction: CocoPrediction) -> InstanceScores:
    """Score the instances of one image.

    Raises:
        ValueError: a mask is broken or of another size than the image.
    """
    truths = checked_rles(truth.segmentations, truth.size, truth.name)
    found = checked_rles(prediction.segmentations, truth.size, prediction.name)
    pixels = [float(coco_mask.area(rle)) for rle in truths]
    single = [index for index, crowd in enumerate(truth.is_crowd) if not crowd and pixels[index]]
    overlaps = np.nan_to_num(rle_overlaps(found, [truths[index] for index in single]), nan=0.0)
    true_categories = np.array([truth.categories[index] for index in single])
    same = np.array(prediction.categories)[:, None] == true_categories[None]
    return InstanceScores(
        image_id=truth.image_id,
        is_missing=prediction.is_missing,
        truth_count=len(single),
        mask_count=len(found),
        without_category=prediction.without_category,
        mean_iou=greedy_mean_iou(overlaps) if single else None,
        category_mean_iou=greedy_mean_iou(overlaps * same) if single else None,
        matches=image_matches(
            found,
            prediction.scores,
            truths,
            range(1, len(truths) + 1),
            truth.is_crowd,
            prediction.categories,
            truth.categories,
            [own if area is None else area for area, own in zip(truth.areas, pixels)],
            COCO_CRITERIA,
        ),
    )


def summarize_instances(images: Sequence[InstanceScores]) -> dict[str, float]:
    """Scores over images, and counts that say what they are of.

    ``AP``, ``AP50``, ``AP75``, ``APs``, ``APm``, ``APl``: COCO's average precision of masks at IoU 0.5 to 0.95, 0.5 and 0.75, and
    of small, medium and large objects. As everywhere in COCO's evaluation, at most 100 masks of a category count in an image, and
    crowds need not be found.

    ``mIoU``: GCG's. In an image the pair of a mask and a true instance with the greatest IoU is taken first, one to one, until
    none overlaps. The mean over the pairs of an image, 0 without any, is averaged over the images that have a true instance. What
    the masks are called does not count, and masks or instances without a partner cost nothing. ``mIoU_category``: the same, but
    only a mask and an instance of the same category are a pair.

    ``images``, ``missing`` (without a prediction), ``empty`` (without a true instance), ``empty_right`` (of those, the ones in
    which nothing was found), ``masks`` and ``without_category`` (masks that are called something that is no category): counts.

    A missing prediction counts as an empty one. An AP is 0 where nothing was found. It is -1 where there is no true object (of
    that size), and so are both mIoU.

    Args:
        images: in the order of their ids, see :func:`~lira_plugin.evaluation.coco_average_precision.precisions`.

    Raises:
        ValueError: there is no image.
    """
    if not images:
        raise ValueError("there is no image to score")
    precision = precisions([image.matches for image in images], COCO_CRITERIA)
    thresholds = {f"{threshold:.2f}": index for index, threshold in enumerate(COCO_CRITERIA.thresholds)}
    empty = [image for image in images if not image.truth_count]
    return {
        "AP": mean_precision(precision[..., 0]),
        "AP50": mean_precision(precision[thresholds["0.50"], ..., 0]),
        "AP75": mean_precision(precision[thresholds["0.75"], ..., 0]),
        "APs": mean_precision(precision[..., 1]),
        "APm": mean_precision(precision[..., 2]),
        "APl": mean_precision(precision[..., 3]),
        "mIoU": _mean([image.mean_iou for image in images]),
        "mIoU_category": _mean([image.category_mean_iou for image in images]),
        "images": len(images),
        "missing": sum(image.is_missing for image in images),
        "empty": len(empty),
        "empty_right": sum(not image.mask_count + image.without_category for image in empty),
        "masks": sum(image.mask_count for image in images),
        "without_category": sum(image.without_category for image in images),
    }


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else NOTHING
