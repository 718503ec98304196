"""The view of a region that ILVC feeds back: its crop with everything but the region darkened."""

import cv2
import numpy as np
from PIL import Image

DARKNESS = 0.3
"""Brightness left outside of the region (``gcg_lira.py:223-249``)."""
_DARKENED = (np.arange(256, dtype=np.uint8) * np.float32(DARKNESS)).astype(np.uint8)
"""What each of the 256 values becomes."""


def region_view(image: np.ndarray, mask: np.ndarray, size: int) -> np.ndarray:
    """Crop a region and squash it to a tile (``gcg_lira.py:223-249``, "highlight").

    Args:
        image: (H, W, 3) uint8.
        mask: (H, W) bool. An empty mask shows the whole image, darkened.
        size: side of the tile.

    Returns:
        (size, size, 3) uint8; the aspect ratio of the crop is not kept, as in the reference.
    """
    if mask.shape != image.shape[:2]:
        raise ValueError(f"the mask is {mask.shape} but the image is {image.shape[:2]}")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows):
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        image, mask = image[window], mask[window]
    image = np.ascontiguousarray(image)
    view = cv2.LUT(image, _DARKENED)
    cv2.copyTo(image, np.ascontiguousarray(mask, np.uint8), view)  # where the mask is set
    return resize_image(view, size, size)


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bicubic resize with antialiasing, (H, W, 3) uint8 to (height, width, 3) uint8."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
