"""COCO's average precision of masks, gathered image by image so that no mask is kept."""

import copy
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Rle = dict[str, Any]
"""COCO's compressed RLE, ``{"size": [height, width], "counts": text}``."""
ImageMatches = dict[tuple[int, int], dict[str, Any]]
"""What COCOeval keeps of an image, by category and index of the area: scores of detections, and which match; no mask."""

CATEGORY = 1
"""That of masks without classes."""
_KEPT = ("dtScores", "dtMatches", "dtIgnore", "gtIgnore")
"""What COCOeval accumulates."""


class Criteria(NamedTuple):
    """When a detection is right, and which are counted.

    Args:
        thresholds: IoU from which on two masks match.
        areas: smallest and largest area in pixels of the masks that count.
    """

    thresholds: tuple[float, ...]
    areas: tuple[tuple[float, float], ...]


ALL_AREAS = (0, 1e10)
AT_HALF = Criteria((0.5,), (ALL_AREAS,))
COCO_CRITERIA = Criteria(
    tuple(np.linspace(0.5, 0.95, 10)), (ALL_AREAS, (0, 32**2), (32**2, 96**2), (96**2, ALL_AREAS[1]))
)
"""COCO's: IoU 0.5 to 0.95; all areas, small, medium and large ones."""


def image_matches(
    found: Sequence[Rle],
    scores: Sequence[float],
    truths: Sequence[Rle],
    truth_ids: Sequence[int],
    is_crowd: Sequence[bool],
    found_categories: Sequence[int] | None = None,
    true_categories: Sequence[int] | None = None,
    areas: Sequence[float] | None = None,
    criteria: Criteria = AT_HALF,
) -> ImageMatches:
    """Match the detections of one image with its true masks by COCOeval (``maxDets`` 100).

    Args:
        found: masks that were found.
        scores: of each of them; detections of equal scores keep their order.
        truths: true masks.
        truth_ids: their annotation ids, of which only 0 counts: COCOeval takes a match with it for none. Others may occur twice.
        is_crowd: of each true mask.
        found_categories, true_categories: of each mask; None for masks without classes.
        areas: of each true mask in pixels, as its annotation has it; None counts them.
        criteria: when they match.

    Returns:
        What :func:`precisions` needs; nothing where there is neither a detection nor a true mask.
    """
    if not len(found) and not len(truths):
        return {}
    found_categories = [CATEGORY] * len(found) if found_categories is None else found_categories
    true_categories = [CATEGORY] * len(truths) if true_categories is None else true_categories
    areas = [float(coco_mask.area(rle)) for rle in truths] if areas is None else areas
    categories = sorted({*found_categories, *true_categories})
    height, width = next(iter([*truths, *found]))["size"]
    base = {"images": [{"id": 1, "height": height, "width": width}], "categories": [{"id": id_} for id_ in categories]}
    detections = [
        _annotation(index, rle, category, float(coco_mask.area(rle))) | {"iscrowd": 0, "score": float(score)}
        for index, (rle, category, score) in enumerate(zip(found, found_categories, scores, strict=True), 1)
    ]
    ids = [truth_id and index for index, truth_id in enumerate(truth_ids, 1)]
    annotations = [
        _annotation(index, rle, category, area) | {"iscrowd": int(crowd)}
        for index, rle, category, area, crowd in zip(ids, truths, true_categories, areas, is_crowd, strict=True)
    ]
    with redirect_stdout(io.StringIO()):  # pycocotools reports on every step
        evaluation = _evaluation(criteria, [1], categories, _coco(base, annotations), _coco(base, detections))
        evaluation.evaluate()
    keys = product(categories, range(len(criteria.areas)))
    return {key: {name: own[name] for name in _KEPT} for key, own in zip(keys, evaluation.evalImgs) if own is not None}


def precisions(matches: Sequence[ImageMatches], criteria: Criteria = AT_HALF) -> np.ndarray:
    """Precision over images, as COCOeval accumulates it.

    Args:
        matches: of :func:`image_matches`, in the order in which detections of equal scores are to be counted; COCO's is that of
            the image ids.
        criteria: those of the matches.

    Returns:
        (T, 101, K, A): thresholds, recalls, the categories that occur, areas. -1 where there is no true mask.
    """
    categories = sorted({category for own in matches for category, _ in own})
    areas = range(len(criteria.areas))
    if not categories:
        return np.full((len(criteria.thresholds), 101, 0, len(areas)), -1.0)
    evaluation = _evaluation(criteria, list(range(len(matches))), categories)
    evaluation.evalImgs = [own.get((category, area)) for category in categories for area in areas for own in matches]
    evaluation._paramsEval = copy.deepcopy(evaluation.params)
    with redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    return evaluation.eval["precision"][..., -1]


def mean_precision(values: np.ndarray) -> float:
    """Mean of those of :func:`precisions` that there are: 0 where nothing was found, and -1 where there is no true mask."""
    known = values[values > -1]
    return float(np.mean(known)) if known.size else -1.0


def average_precision(matches: Sequence[ImageMatches], criteria: Criteria = AT_HALF) -> float:
    """Average precision over images, thresholds and categories, for all areas: 0 to 1, or -1 where there is no true mask."""
    return mean_precision(precisions(matches, criteria)[..., 0])


def _evaluation(criteria: Criteria, images: list[int], categories: list[int], *cocos: COCO) -> COCOeval:
    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(*cocos, iouType="segm")
    evaluation.params.iouThrs = np.array(criteria.thresholds)
    evaluation.params.areaRng = [list(area) for area in criteria.areas]
    evaluation.params.areaRngLbl = [str(area) for area in criteria.areas]
    evaluation.params.catIds, evaluation.params.imgIds = categories, images
    return evaluation


def _coco(base: dict[str, Any], annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = base | {"annotations": annotations}
    coco.createIndex()
    return coco


def _annotation(index: int, rle: Rle, category: int, area: float) -> dict[str, Any]:
    return {"id": index, "image_id": 1, "category_id": category, "segmentation": rle, "area": area}
