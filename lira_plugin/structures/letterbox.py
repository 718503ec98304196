"""Letterbox: a centred pad to a square and a resize, and the way back for masks."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch.nn.functional as F
from torch import Tensor

from lira_plugin.structures.region_view import resize_image


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
        square = np.empty((self.side, self.side, 3), image.dtype)
        square[:] = fill
        self._paste(square, image)
        return resize_image(square, self.size, self.size)

    def apply_mask(self, mask: np.ndarray) -> np.ndarray:
        """Pad with False and resize (nearest): (H, W) bool to (size, size) bool."""
        square = np.zeros((self.side, self.side), np.uint8)
        self._paste(square, mask)
        if self.side != self.size:
            square = cv2.resize(square, (self.size, self.size), interpolation=cv2.INTER_NEAREST_EXACT)
        return square.astype(bool)

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

    def _paste(self, square: np.ndarray, image: np.ndarray) -> None:
        if image.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"this letterbox is for {self.height}x{self.width} pixels, got an array of {image.shape[:2]}"
            )
        top, left = self.offset
        square[top : top + self.height, left : left + self.width] = image


def _resize(logits: Tensor, height: int, width: int) -> Tensor:
    """(N, h, w) to (N, height, width), bilinear, fp32."""
    return F.interpolate(logits[:, None].float(), (height, width), mode="bilinear", align_corners=False)[:, 0]
