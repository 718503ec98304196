"""Letterbox: a centred pad to a square and a resize, and the way back for masks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from lira_plugin.structures.region_view import resize_image

_PIXELS_AT_ONCE = 2**24
"""Padded pixels in memory at most, where an image is so elongated that its square would be more."""


@dataclass(frozen=True)
class Letterbox:
    """The map between an image of ``height`` x ``width`` pixels and a square of ``size`` pixels.

    The image is first padded to a square, the odd pixel going to the bottom or right, and then resized; so a mask at
    any resolution of the square maps back by resizing to the padded square and cutting the padding off
    (as the reference's ``expand2square`` and ``CLIPImageProcessor``).
    """

    height: int
    width: int
    size: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.size) < 1:
            raise ValueError(f"sizes must be positive, got {self}")

    @property
    def side(self) -> int:
        """Side of the padded square in image pixels."""
        return max(self.height, self.width)

    @property
    def offset(self) -> tuple[int, int]:
        """(top, left) of the image in the padded square."""
        return (self.side - self.height) // 2, (self.side - self.width) // 2

    def apply_image(self, image: np.ndarray, fill: tuple[int, int, int]) -> np.ndarray:
        """Pad with ``fill`` and resize (bicubic, with antialiasing when shrinking): (H, W, 3) uint8 to (size, size, 3)."""
        self._check(image)
        if self.height <= self.width:
            return resize_image(self._pad(resize_image(image, self.height, self.size), 0, fill), self.size, self.size)
        # Pillow resizes rows first, and so do we; of an elongated image some at a time.
        count = max(1, _PIXELS_AT_ONCE // self.side)
        parts = (self._pad(image[start : start + count], 1, fill) for start in range(0, self.height, count))
        narrow = np.concatenate([resize_image(part, len(part), self.size) for part in parts])
        return resize_image(narrow, self.size, self.size)

    def apply_mask(self, mask: np.ndarray) -> np.ndarray:
        """Pad with False and resize (nearest): (H, W) bool to (size, size) bool."""
        self._check(mask)
        axis, shape = (1, (self.size, self.width)) if self.height > self.width else (0, (self.height, self.size))
        strip = _resize_nearest(mask.astype(np.uint8), *shape)
        return _resize_nearest(self._pad(strip, axis, 0), self.size, self.size).astype(bool)

    def invert_logits(self, logits: Tensor) -> Tensor:
        """Mask logits of the square, (N, h, w) at any resolution, to the image: (N, height, width), bilinear.

        One axis at a time, that of the padding first: so an elongated image never takes the memory of its square.
        """
        (top, left), (rows, columns) = self.offset, logits.shape[-2:]
        if self.height > self.width:
            strips = _resize(logits, rows, self.side)[..., left : left + self.width]
        else:
            strips = _resize(logits, self.side, columns)[:, top : top + self.height]
        return _resize(strips, self.height, self.width)

    def _pad(self, image: np.ndarray, axis: int, fill: Any) -> np.ndarray:
        """Pad one axis to the side of the square."""
        if image.shape[axis] == self.side:
            return image
        shape = list(image.shape)
        shape[axis] = self.side
        padded = np.full(shape, fill, image.dtype)
        start = self.offset[axis]
        padded.swapaxes(0, axis)[start : start + image.shape[axis]] = image.swapaxes(0, axis)
        return padded

    def _check(self, image: np.ndarray) -> None:
        if image.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"this letterbox is for {self.height}x{self.width} pixels, got an array of {image.shape[:2]}"
            )


def _resize_nearest(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    return _take_nearest(_take_nearest(mask, height, 0), width, 1)


def _take_nearest(mask: np.ndarray, length: int, axis: int) -> np.ndarray:
    """The pixels under the centres of new ones, to 1/65536 of a pixel: what OpenCV's ``INTER_NEAREST_EXACT`` takes.

    OpenCV itself counts in 32 bits, and reads beside an image of more than 32767 pixels along a side.
    """
    old = mask.shape[axis]
    if old == length:
        return mask
    step = ((old << 16) + length // 2) // length
    sources = (step * np.arange(length, dtype=np.int64) + step // 2 - old % 2) >> 16
    return mask.take(sources.clip(0, old - 1), axis)


def _resize(logits: Tensor, height: int, width: int) -> Tensor:
    """(N, h, w) to (N, height, width), bilinear, fp32."""
    return F.interpolate(logits[:, None].float(), (height, width), mode="bilinear", align_corners=False)[:, 0]
