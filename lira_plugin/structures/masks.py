"""Binary masks and COCO's ways to write them: polygons, compressed and uncompressed RLE."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from lira_plugin.structures.fault_kinds import DataFault, FaultKind
from lira_plugin.structures.rle import decode_rle, is_all_zero

_FAR = 2**31
"""Pixels that no image reaches: numbers beyond are shown as this one."""
_MARGIN = 2
"""Pixels that annotators' polygons may reach beyond the image: those are cut off."""


def decode_segmentation(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Decode one COCO ``segmentation`` to the union of its parts.

    Args:
        segmentation: polygons ``[[x, y, ...], ...]``, an RLE dict (compressed or not), a list of RLE dicts, or empty.
        height: of the image in pixels.
        width: of the image in pixels.

    Returns:
        (height, width) bool.

    Raises:
        DataFault: an RLE has another size than the image or runs that are not its pixels, a polygon has fewer than three points
            or values that are no numbers in the image, or the form is not COCO's.
    """
    parts = segmentation if isinstance(segmentation, list | tuple) else [segmentation] if segmentation else []
    if not parts:
        return np.zeros((height, width), bool)
    if isinstance(parts[0], int | float):
        parts = [parts]
    union = np.zeros((height, width), bool)
    for part in parts:
        union |= _decode_part(part, height, width)
    return union


def decode_union(segmentations: Sequence[Any], height: int, width: int) -> np.ndarray:
    """The union of several annotations, (height, width) bool; none at all gives an empty mask."""
    union = np.zeros((height, width), bool)
    for segmentation in segmentations:
        union |= decode_segmentation(segmentation, height, width)
    return union


def is_empty_annotation(segmentation: Any) -> bool:
    """Whether an annotation has no pixel, as far as its form tells: nothing at all, or RLEs without a run of ones.

    That is cheap enough for all annotations of a file. Degenerate polygons show only when they are decoded.
    """
    parts = segmentation if isinstance(segmentation, list | tuple) else [segmentation] if segmentation else []
    return all(isinstance(part, dict) and "counts" in part and is_all_zero(part) for part in parts)


def logit_of(threshold: float) -> float:
    """The logit above which a pixel's foreground probability exceeds ``threshold``.

    Raises:
        ValueError: the threshold does not lie between 0 and 1.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
    return math.log(threshold / (1 - threshold))


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) bool to compressed RLE whose ``counts`` is a string, ready for JSON.

    Raises:
        ValueError: the mask is of fractions, which would be cut to whole numbers, or not (H, W).
    """
    mask = np.asarray(mask)
    if mask.dtype.kind not in "bui" or mask.ndim != 2:
        raise ValueError(
            f"a mask must be bool of shape (H, W), got {mask.dtype} {mask.shape}: threshold probabilities first"
        )
    mask = mask.astype(bool, copy=False)
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _decode_part(part: Any, height: int, width: int) -> np.ndarray:
    """One polygon or RLE, (height, width) bool."""
    if isinstance(part, dict) and {"size", "counts"} <= part.keys():
        return decode_rle(part, height, width)
    if isinstance(part, list | tuple):
        _check_polygon(part, height, width)
        return coco_mask.decode(coco_mask.frPyObjects([list(part)], height, width)[0]).astype(bool)
    raise DataFault(
        FaultKind.LAYOUT, f"not a COCO segmentation (polygons, RLE dict or list of RLE dicts): {part!r:.80}"
    )


def _check_polygon(polygon: Sequence[Any], height: int, width: int) -> None:
    """Refuse what pycocotools' C code would not: it takes any number, and reserves memory for the way between two points."""
    if len(polygon) < 6 or len(polygon) % 2:
        raise DataFault(FaultKind.BAD_POLYGON, f"a polygon needs at least three x, y pairs, got {len(polygon)} values")
    for index, value in enumerate(polygon):
        # NaN is not smaller than infinity, and an int may be too large to be a float
        is_finite = isinstance(value, Real) and abs(value) < math.inf  # type: ignore[operator]
        if isinstance(value, bool) or not is_finite:
            kind = FaultKind.NON_FINITE if isinstance(value, float) else FaultKind.BAD_POLYGON
            raise DataFault(kind, f"value {index} of a polygon must be a finite number, got {value!r:.40}")
    for axis, side, values in (("x", width, polygon[::2]), ("y", height, polygon[1::2])):
        low, high = max(min(values), -_FAR), min(max(values), _FAR)
        if low < -_MARGIN or high > side + _MARGIN:
            raise DataFault(
                FaultKind.MASK_OUTSIDE,
                f"the polygon reaches from {axis}={low:g} to {high:g}, but the image is {width} wide and {height} high",
            )
