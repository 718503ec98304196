"""Scores of referring segmentation as pure functions: one mask a sentence, with or without a target, with regions to ignore.

They serve RefCOCO's, gRefCOCO's and ReasonSeg's protocols, for :class:`~lira_plugin.evaluation.ReferSegMetric` and for files of
predictions alike. I and U are the intersection and union of one sentence's masks in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lira_plugin.evaluation.mask_iou import foreground, intersection_union, iou_from_counts
from lira_plugin.structures.mask_shapes import mask_box

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""IoU thresholds of P@t."""


@dataclass(frozen=True)
class SentenceScore:
    """How the mask of one sentence compares with its annotation.

    Args:
        intersection: I in pixels.
        union: U in pixels.
        iou: I / U, and what stands for it where U is 0.
        box_iou: IoU of the boxes around the two masks; 0 where one has no pixel.
        pixels: of the mask that counts.
        target_pixels: of the annotation.
        has_target: whether the annotation says that the sentence names something.
        says_no_target: whether the answer says that it names nothing.
        counts_in_sums: whether I and U count in cIoU.
    """

    intersection: int
    union: int
    iou: float
    box_iou: float
    pixels: int
    target_pixels: int
    has_target: bool
    says_no_target: bool
    counts_in_sums: bool = True


def score_sentence(
    mask: np.ndarray | None,
    target: np.ndarray,
    *,
    has_target: bool,
    ignore: np.ndarray | None = None,
    min_pixels: int = 0,
    skip_missing: bool = False,
    says_no_target: bool | None = None,
    empty_is_right: bool | None = None,
) -> SentenceScore:
    """Compare the mask of an answer with the annotation of its sentence.

    Args:
        mask: (H, W), or None for an answer without ``<seg>``.
        target: (H, W).
        has_target: whether the annotation says that the sentence names something; a mask without a pixel does not say it.
        ignore: (H, W) pixels that count neither for nor against, be they in the target or not (LISA's ``ignore``).
        min_pixels: a mask of fewer pixels counts as empty; gRefCOCO's rule is 50.
        skip_missing: what an answer without ``<seg>`` counts as. False: an empty mask. True: nothing in cIoU, and 0 in gIoU.
        says_no_target: the verdict of a model that gives one beside its mask (ReLA). Of a sentence with a target it sets I to 0
            and leaves U; of one without, it alone decides. None: an empty mask says so.
        empty_is_right: whether U = 0 scores 1. None: where there is no target, or where all of it is ignored.

    Raises:
        ValueError: the masks differ in shape, are not (H, W), or are of fractions.
    """
    target = foreground(target)
    skipped = mask is None and skip_missing
    mask = np.zeros_like(target) if mask is None else foreground(mask)
    is_ignored = np.zeros_like(target) if ignore is None else foreground(ignore)
    if is_ignored.shape != target.shape:
        raise ValueError(f"the mask to ignore is {is_ignored.shape}, but the target is {target.shape}")
    intersection_union(mask, target)  # refuses shapes that differ
    if empty_is_right is None:
        empty_is_right = not has_target or bool(target.any() and not (target & ~is_ignored).any())
    target_pixels = int(np.count_nonzero(target))
    mask, target = mask & ~is_ignored, target & ~is_ignored
    if np.count_nonzero(mask) < min_pixels:
        mask = np.zeros_like(mask)
        says_no_target = True if says_no_target is not None else None
    intersection, union = (0, 0) if skipped else intersection_union(mask, target)
    pixels = int(np.count_nonzero(mask))
    verdict = pixels == 0 if says_no_target is None else says_no_target
    if says_no_target is None:
        iou = iou_from_counts(intersection, union, empty=float(empty_is_right and not skipped))
    elif has_target:
        intersection = 0 if verdict else intersection
        iou = iou_from_counts(intersection, union, empty=0.0)
    else:
        intersection, union = 0, 0 if verdict else union
        iou = float(verdict and not skipped)
    return SentenceScore(
        intersection=intersection,
        union=union,
        iou=iou,
        box_iou=0.0 if verdict else box_iou(mask, target),
        pixels=pixels,
        target_pixels=target_pixels,
        has_target=has_target,
        says_no_target=verdict,
        counts_in_sums=not skipped,
    )


def summarise_sentences(scores: Sequence[SentenceScore]) -> dict[str, float]:
    """What the scores of sentences say together, as fractions from 0 to 1.

    ``cIoU``: sum of I / sum of U. ``gIoU``: mean of I / U. Where there are sentences with a target: ``P@t``, the fraction of them
    with I / U >= t, and ``box_P@0.5``, the same of the boxes. Where there are some without: ``N-acc``, the fraction of them whose
    answer says so. Where there are both: ``T-acc``, the fraction of the former whose answer does not say so.

    Raises:
        ValueError: there is no sentence.
    """
    if not scores:
        raise ValueError("there is no sentence to score")
    counted = [score for score in scores if score.counts_in_sums]
    with_target = [score for score in scores if score.has_target]
    no_target = [score for score in scores if not score.has_target]
    summary = {
        "cIoU": iou_from_counts(
            sum(score.intersection for score in scores),
            sum(score.union for score in scores),
            empty=float(bool(counted) and all(score.iou == 1 for score in counted)),
        ),
        "gIoU": float(np.mean([score.iou for score in scores])),
    }
    if with_target:
        for threshold in THRESHOLDS:
            summary[f"P@{threshold}"] = _mean(score.iou >= threshold for score in with_target)
        summary["box_P@0.5"] = _mean(score.box_iou >= 0.5 for score in with_target)
    if no_target:
        summary["N-acc"] = _mean(score.says_no_target for score in no_target)
    if no_target and with_target:
        summary["T-acc"] = _mean(not score.says_no_target for score in with_target)
    return summary


def box_iou(pred: np.ndarray, target: np.ndarray) -> float:
    """IoU of the boxes around two (H, W) masks; 0 where one of them has no pixel."""
    boxes = mask_box(foreground(pred)), mask_box(foreground(target))
    if None in boxes:
        return 0.0
    (left, top, right, bottom), (other_left, other_top, other_right, other_bottom) = boxes
    width = min(right, other_right) - max(left, other_left)
    height = min(bottom, other_bottom) - max(top, other_top)
    both = max(width, 0) * max(height, 0)
    areas = (right - left) * (bottom - top) + (other_right - other_left) * (other_bottom - other_top)
    return both / (areas - both)


def _mean(flags: object) -> float:
    return float(np.mean([bool(flag) for flag in flags]))
