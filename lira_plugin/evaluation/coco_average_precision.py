"""COCO's average precision of masks at one IoU threshold, gathered image by image so that no mask is kept."""

import copy
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Rle = dict[str, Any]
"""COCO's compressed RLE, ``{"size": [height, width], "counts": text}``."""
ImageMatches = dict[str, Any]
"""What COCOeval keeps of an image: scores of its detections, and which of them match; no mask."""

CATEGORY = 1


def image_matches(
    found: Sequence[Rle],
    scores: Sequence[float],
    truths: Sequence[Rle],
    truth_ids: Sequence[int],
    is_crowd: Sequence[bool],
    threshold: float = 0.5,
) -> ImageMatches | None:
    """Match the detections of one image with its true masks by COCOeval (``maxDets`` 100, all areas); all are of one class.

    Args:
        found: masks that were found.
        scores: of each of them; detections of equal scores keep their order.
        truths: true masks.
        truth_ids: their annotation ids. COCOeval takes a match with id 0 for none.
        is_crowd: of each true mask.
        threshold: IoU from which on two masks match.

    Returns:
        What :func:`average_precision` needs; None where there is neither a detection nor a true mask.
    """
    if not len(found) and not len(truths):
        return None
    with redirect_stdout(io.StringIO()):  # pycocotools reports on every step
        truth, detections = COCO(), COCO()
        height, width = next(iter([*truths, *found]))["size"]
        truth.dataset = {
            "images": [{"id": 1, "height": height, "width": width}],
            "categories": [{"id": CATEGORY}],
            "annotations": [
                _annotation(index, rle, int(crowd))
                for index, rle, crowd in zip(truth_ids, truths, is_crowd, strict=True)
            ],
        }
        detections.dataset = truth.dataset | {
            "annotations": [
                _annotation(index, rle, 0) | {"score": float(score)}
                for index, (rle, score) in enumerate(zip(found, scores, strict=True), 1)
            ]
        }
        truth.createIndex()
        detections.createIndex()
        evaluation = _evaluation(threshold, [1], truth, detections)
        evaluation.evaluate()
    return evaluation.evalImgs[0]


def average_precision(matches: Sequence[ImageMatches | None], threshold: float = 0.5) -> float:
    """Average precision over images, as COCOeval accumulates it.

    Args:
        matches: of :func:`image_matches`, in the order in which detections of equal scores are to be counted; COCO's is that of
            the image ids.
        threshold: that of the matches.

    Returns:
        0 to 1; 0 where nothing was found, and -1 where there is no true mask.
    """
    evaluation = _evaluation(threshold, list(range(len(matches))))
    evaluation.evalImgs = list(matches)
    evaluation._paramsEval = copy.deepcopy(evaluation.params)
    if matches:
        with redirect_stdout(io.StringIO()):
            evaluation.accumulate()
        precision = evaluation.eval["precision"][0, :, 0, 0, -1]
        if (precision > -1).any():
            return float(np.mean(precision[precision > -1]))
    return -1.0


def _evaluation(threshold: float, images: list[int], *cocos: COCO) -> COCOeval:
    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(*cocos, iouType="segm")
    evaluation.params.iouThrs = np.array([threshold])
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.catIds, evaluation.params.imgIds = [CATEGORY], images
    return evaluation


def _annotation(index: int, rle: Rle, is_crowd: int) -> dict[str, Any]:
    area = float(coco_mask.area(rle))
    return {
        "id": index,
        "image_id": 1,
        "category_id": CATEGORY,
        "segmentation": rle,
        "area": area,
        "iscrowd": is_crowd,
    }
