"""Overlap of binary masks, in NumPy.

Any non-zero pixel is foreground, so a sum of overlapping parts (values of 2 and more) counts as their union. Where both
masks are empty the ratio is 0 / 0: every function that divides takes ``empty``, the value that stands for it. Its
default, 1, says that finding nothing where there is nothing is right (LISA's and gRefCOCO's rule). For one-to-one
matching pass 0, or else two empty masks match perfectly.
"""

from collections.abc import Sequence

import numpy as np

_EXACT_IN_FLOAT32 = 2**24


def bool_mask(mask: np.ndarray, name: str) -> np.ndarray:
    """A mask as an array, if it is one of bool.

    Args:
        mask: (H, W).
        name: of the mask, for the message.

    Raises:
        ValueError: it is of another type, such as probabilities, or not (H, W).
    """
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.ndim != 2:
        raise ValueError(
            f"{name} must be bool of shape (H, W), got {mask.dtype} {mask.shape}: make masks of probabilities with a threshold, "
            "as in probability > 0.5"
        )
    return mask


def foreground(mask: np.ndarray) -> np.ndarray:
    """Foreground of a mask: whatever is not 0. Fractions may be probabilities, of which none is background, and are refused."""
    mask = np.asarray(mask)
    if mask.dtype.kind not in "bui" and not (mask.dtype.kind == "f" and np.array_equal(mask, np.round(mask))):
        raise ValueError(
            f"masks must be of bool or whole numbers, got {mask.dtype} with fractions: make them of probabilities with a "
            "threshold, as in probability > 0.5"
        )
    return mask.astype(bool)


def intersection_union(pred: np.ndarray, target: np.ndarray) -> tuple[int, int]:
    """Pixels in both masks, and in at least one.

    Args:
        pred: (H, W) mask.
        target: (H, W) mask.

    Returns:
        (I, U) with ``0 <= I <= U <= H * W``.

    Raises:
        ValueError: the shapes differ or are not (H, W), or a mask is of fractions.
    """
    pred, target = np.asarray(pred), np.asarray(target)
    if pred.ndim != 2 or pred.shape != target.shape:
        raise ValueError(f"two masks of the same shape (H, W) are needed, got {pred.shape} and {target.shape}")
    pred, target = foreground(pred), foreground(target)
    return int(np.count_nonzero(pred & target)), int(np.count_nonzero(pred | target))


def iou_from_counts(intersection: int, union: int, *, empty: float = 1.0) -> float:
    """``intersection / union``, or ``empty`` where the union has no pixel; for sums over many masks too (cIoU)."""
    if not 0 <= intersection <= union:
        raise ValueError(f"expected 0 <= intersection <= union, got {intersection} and {union}")
    return float(intersection / union) if union else float(empty)


def iou(pred: np.ndarray, target: np.ndarray, *, empty: float = 1.0) -> float:
    """Intersection over union of two (H, W) masks.

    Both empty gives ``empty``; exactly one empty gives 0.

    Raises:
        ValueError: the shapes differ or are not (H, W).
    """
    return iou_from_counts(*intersection_union(pred, target), empty=empty)


def iou_matrix(
    preds: Sequence[np.ndarray] | np.ndarray, targets: Sequence[np.ndarray] | np.ndarray, *, empty: float = 1.0
) -> np.ndarray:
    """IoU of every prediction with every target.

    Args:
        preds: P masks of one shape (H, W); P may be 0.
        targets: T masks of the same shape; T may be 0.
        empty: value of a pair of empty masks.

    Returns:
        (P, T) float64.

    Raises:
        ValueError: the masks are not all of one shape (H, W).
    """
    shapes = {np.shape(mask) for mask in (*preds, *targets)}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        raise ValueError(f"masks of one shape (H, W) are needed, got shapes {sorted(shapes)}")
    if not len(preds) or not len(targets):
        return np.zeros((len(preds), len(targets)))
    pixels = int(np.prod(shapes.pop()))
    dtype = np.float32 if pixels <= _EXACT_IN_FLOAT32 else np.float64
    rows = np.stack([foreground(mask).ravel() for mask in preds]).astype(dtype)
    columns = np.stack([foreground(mask).ravel() for mask in targets]).astype(dtype)
    intersection = (rows @ columns.T).astype(np.float64)
    union = rows.sum(1, dtype=np.float64)[:, None] + columns.sum(1, dtype=np.float64)[None] - intersection
    return np.divide(intersection, union, out=np.full_like(union, empty), where=union > 0)


def match_masks(
    preds: Sequence[np.ndarray] | np.ndarray, targets: Sequence[np.ndarray] | np.ndarray
) -> list[tuple[int, int]]:
    """Pair predictions with targets one to one so that the sum of their IoU is greatest.

    Args:
        preds: P masks of one shape (H, W).
        targets: T masks of the same shape.

    Returns:
        (index of the prediction, index of the target), by target; only pairs that overlap.

    Raises:
        ValueError: the masks are not all of one shape (H, W).
    """
    overlaps = iou_matrix(preds, targets, empty=0.0)
    from scipy.optimize import linear_sum_assignment  # slow to import, and many need other figures alone

    pairs = ((int(pred), int(target)) for pred, target in zip(*linear_sum_assignment(overlaps, maximize=True)))
    return sorted((pair for pair in pairs if overlaps[pair] > 0), key=lambda pair: pair[1])


def mean_matched_iou(
    preds: Sequence[np.ndarray] | np.ndarray,
    targets: Sequence[np.ndarray] | np.ndarray,
    has_target: Sequence[bool] | None = None,
) -> float:
    """Mean over the targets of the IoU with the prediction that :func:`match_masks` gives them.

    A target without a prediction counts 0. Targets without a pixel count 1 where no prediction with pixels is left
    over, and 0 otherwise; beside that, predictions too many cost nothing.

    Args:
        preds: P masks of one shape (H, W).
        targets: T masks of the same shape.
        has_target: of each target, whether the annotation names something: without a pixel it then counts 0.

    Raises:
        ValueError: there is no target, or the masks are not all of one shape (H, W).
    """
    if not len(targets):
        raise ValueError("a mean over the targets needs at least one target")
    pairs = match_masks(preds, targets)
    matched = {pred for pred, _ in pairs}
    excess = any(np.any(mask) for index, mask in enumerate(preds) if index not in matched)
    named = [False] * len(targets) if has_target is None else has_target
    scores = [
        0.0 if excess or is_named or np.any(target) else 1.0 for target, is_named in zip(targets, named, strict=True)
    ]
    for pred, target in pairs:
        scores[target] = iou(preds[pred], targets[target])
    return float(np.mean(scores))
