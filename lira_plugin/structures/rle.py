"""COCO's run-length encoding, read in NumPy: every number is checked before a mask is made of it.

A mask is written as the lengths of its runs down the columns, zeros first. "Uncompressed" is a list of these numbers.
"Compressed" is a text that holds them in characters of five bits (``rleFrString`` of the COCO API).
"""

import math
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np

from lira_plugin.structures.fault_kinds import DataFault, FaultKind

_CHARACTERS_OF_A_RUN = 7
"""Characters of five bits that the largest run needs: 2**32 pixels and a sign."""


def decode_rle(rle: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    """Decode ``{"size": [height, width], "counts": runs}``, compressed or not, to (height, width) bool.

    Raises:
        DataFault: the size is another one, or the runs are no whole numbers from 0 on whose sum is the number of pixels.
    """
    size = rle["size"]
    if not _is_size(size):
        is_finite = not isinstance(size, list | tuple) or all(
            not isinstance(side, float) or math.isfinite(side) for side in size
        )
        kind = FaultKind.BAD_RLE if is_finite else FaultKind.NON_FINITE
        raise DataFault(kind, f"the size of an RLE must be [height, width] in whole pixels, got {size!r}")
    if tuple(size) != (height, width):
        raise DataFault(FaultKind.MASK_SIZE, f"the mask is {size[0]}x{size[1]} but the image is {height}x{width}")
    counts = rle["counts"]
    runs = _uncompressed(counts) if isinstance(counts, list | tuple) else _compressed(counts)
    if len(runs) > height * width + 1:
        raise DataFault(
            FaultKind.BAD_RLE, f"the mask has {len(runs)} runs, more than the image has pixels ({height}x{width})"
        )
    if len(runs) and runs.min() < 0:
        raise DataFault(FaultKind.BAD_RLE, f"run {int(runs.argmin())} of the mask is negative: {int(runs.min())}")
    total = int(runs.sum())
    if total != height * width:
        raise DataFault(
            FaultKind.BAD_RLE, f"the runs of the mask are of {total} pixels, but the image has {height}x{width}"
        )
    is_set = np.arange(len(runs)) % 2 == 1
    return np.repeat(is_set, runs).reshape(width, height).T


def is_all_zero(rle: Mapping[str, Any]) -> bool:
    """Whether an RLE sets no pixel; one that cannot be read is said by :func:`decode_rle`, and is not all zero.

    A long text has more than one run and is not read: only nonsense would spell many runs of no pixel.
    """
    counts = rle["counts"]
    if isinstance(counts, list | tuple):
        return not any(counts[1::2])
    if not isinstance(counts, str | bytes) or len(counts) > 2 * _CHARACTERS_OF_A_RUN:
        return False
    try:
        return not _compressed(counts)[1::2].any()
    except ValueError:
        return False


def _is_size(size: Any) -> bool:
    return (
        isinstance(size, list | tuple)
        and len(size) == 2
        and all(isinstance(side, Integral) and not isinstance(side, bool) for side in size)
    )


def _uncompressed(counts: list | tuple) -> np.ndarray:
    """A list of runs as (n,) int64."""
    for index, run in enumerate(counts):
        if isinstance(run, float) and not math.isfinite(run):
            raise DataFault(
                FaultKind.NON_FINITE, f"run {index} of the mask must be a whole number of pixels, got {run!r}"
            )
        if isinstance(run, bool) or not isinstance(run, Integral) or not -(2**32) < int(run) < 2**32:
            raise DataFault(FaultKind.BAD_RLE, f"run {index} of the mask must be a whole number of pixels, got {run!r}")
    return np.array(counts, np.int64)


def _compressed(counts: Any) -> np.ndarray:
    """A compressed text of runs as (n,) int64.

    Of a character, 48 is subtracted. Bit 5 says that more characters of the run follow; bit 4 of its last one is the sign. The
    low bits come first. From the fourth run on, the number is the difference to the run before the last.
    """
    if not isinstance(counts, str | bytes):
        raise DataFault(FaultKind.BAD_RLE, f"the counts of an RLE must be a list or a text, got {counts!r}")
    text = counts.encode("latin-1", "replace") if isinstance(counts, str) else counts
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if len(codes) and not (codes.min() >= 0 and codes.max() < 64):
        raise DataFault(
            FaultKind.BAD_RLE,
            f"the runs of the mask hold a character that compressed RLE does not have: {counts[:40]!r}",
        )
    is_last = codes & 32 == 0
    if not len(codes) or not is_last[-1]:
        raise DataFault(FaultKind.BAD_RLE, "the runs of the mask are cut off")
    ends = np.flatnonzero(is_last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() >= _CHARACTERS_OF_A_RUN:
        raise DataFault(FaultKind.BAD_RLE, "a run of the mask is written in more characters than any image needs")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts + 1))
    runs = np.add.reduceat((codes & 31) << shifts, starts) - (codes[ends] & 16 > 0) * (32 << shifts[ends])
    runs[1::2], runs[2::2] = runs[1::2].cumsum(), runs[2::2].cumsum()
    return runs
