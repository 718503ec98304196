"""The box and the outlines of a mask."""

from collections.abc import Sequence

import cv2
import numpy as np

Box = tuple[int, int, int, int]
"""Left, top, right and bottom edge in pixels; the last column of pixels is ``right - 1``."""


def mask_box(mask: np.ndarray) -> Box | None:
    """The box around a (H, W) bool mask; None of an empty one."""
    columns, lines = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return None
    return int(columns[0]), int(lines[0]), int(columns[-1]) + 1, int(lines[-1]) + 1


def mask_boxes(masks: Sequence[np.ndarray]) -> np.ndarray:
    """(M, 4) float32, the box around each (H, W) bool mask; zeros for an empty one."""
    return np.array([mask_box(mask) or (0, 0, 0, 0) for mask in masks], np.float32).reshape(-1, 4)


def coco_box(mask: np.ndarray) -> list[int] | None:
    """The box around a (H, W) bool mask as COCO has it, ``[x, y, width, height]``; None of an empty one."""
    box = mask_box(mask)
    return box and [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def outlines(mask: np.ndarray) -> list[list[int]]:
    """The outlines of the pieces of a (H, W) bool mask, along the edges of its pixels: ``[[x, y, x, y, ...], ...]``.

    COCO's polygons have no holes: those of the mask are filled.
    """
    twice = mask.astype(np.uint8).repeat(2, 0).repeat(2, 1)  # each pixel has a point for each of its corners then
    contours, _ = cv2.findContours(twice, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((contour[:, 0] + 1) // 2).ravel().tolist() for contour in contours]
