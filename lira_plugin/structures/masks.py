"""Binary masks and COCO's ways to write them: polygons, compressed and uncompressed RLE."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

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
        ValueError: an RLE has another size than the image, a polygon has fewer than three points, or the form is not
            COCO's.
    """
    parts = segmentation if isinstance(segmentation, list | tuple) else [segmentation] if segmentation else []
    if not parts:
        return np.zeros((height, width), bool)
    if isinstance(parts[0], int | float):
        parts = [parts]
    return coco_mask.decode(coco_mask.merge([_to_rle(part, height, width) for part in parts])).astype(bool)


def decode_union(segmentations: Sequence[Any], height: int, width: int) -> np.ndarray:
    """The union of several annotations, (height, width) bool; none at all gives an empty mask."""
    union = np.zeros((height, width), bool)
    for segmentation in segmentations:
        union |= decode_segmentation(segmentation, height, width)
    return union


def logit_of(threshold: float) -> float:
    """The logit above which a pixel's foreground probability exceeds ``threshold``.

    Raises:
        ValueError: the threshold does not lie between 0 and 1.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
    return math.log(threshold / (1 - threshold))


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """(H, W) bool to compressed RLE whose ``counts`` is a string, ready for JSON."""
    rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def _to_rle(part: Any, height: int, width: int) -> dict[str, Any]:
    if isinstance(part, dict) and {"size", "counts"} <= part.keys():
        if tuple(part["size"]) != (height, width):
            raise ValueError(f"the mask is {part['size'][0]}x{part['size'][1]} but the image is {height}x{width}")
        counts = part["counts"]
        total = sum(counts) if isinstance(counts, list) else _total_of_runs(counts)
        if total != height * width:  # pycocotools would leave what is missing as it finds the memory
            raise ValueError(f"the runs of the mask are of {total} pixels, but the image has {height}x{width}")
        return coco_mask.frPyObjects(part, height, width) if isinstance(counts, list) else part
    if isinstance(part, list | tuple):
        if len(part) < 6 or len(part) % 2:
            raise ValueError(f"a polygon needs at least three x, y pairs, got {len(part)} values")
        for axis, side, values in (("x", width, part[::2]), ("y", height, part[1::2])):
            if min(values) < -_MARGIN or max(values) > side + _MARGIN:
                raise ValueError(
                    f"the polygon reaches from {axis}={min(values):g} to {max(values):g}, but the image is {width} wide and "
                    f"{height} high"
                )
        return coco_mask.frPyObjects([list(part)], height, width)[0]
    raise ValueError(f"not a COCO segmentation (polygons, RLE dict or list of RLE dicts): {type(part).__name__}")


def _total_of_runs(counts: str | bytes) -> int:
    """Pixels of a compressed RLE (``rleFrString`` of the COCO API).

    A run is written five bits a character, low ones first. Of a character, bit 5 says that more follow, and bit 4 of the last one
    is the sign; from the fourth run on it is the difference to the run before the last.
    """
    codes = np.frombuffer(counts.encode("ascii") if isinstance(counts, str) else counts, np.uint8).astype(np.int64) - 48
    last = codes & 32 == 0
    if not len(codes) or not last[-1]:
        raise ValueError("the runs of the mask are cut off")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts + 1))
    runs = np.add.reduceat((codes & 31) << shifts, starts) - (codes[ends] & 16 > 0) * (32 << shifts[ends])
    return int(runs[:1].sum() + runs[1::2].cumsum().sum() + runs[2::2].cumsum().sum())
