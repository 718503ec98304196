"""From mask logits of letterboxed squares to masks of images."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lira_plugin.models.generation.decoding import Decoding
from lira_plugin.structures import Letterbox, logit_of

_PIXELS_TOGETHER = 2**24
"""Pixels of images that are computed at a time, at most, unless one image has more."""


class ImageMask(NamedTuple):
    """A mask at the size of its image, (H, W)."""

    mask: np.ndarray
    """Bool, what is given out."""
    region: np.ndarray
    """Bool, what a view is cut around: ``mask`` at a threshold of one half."""
    score: float
    """Mean foreground probability inside of ``mask``, 0 for an empty one."""
    logits: np.ndarray | None
    """fp32, where they were asked for."""


def image_masks(
    logits: Sequence[Tensor] | Tensor, letterboxes: Sequence[Letterbox], decodings: Sequence[Decoding]
) -> list[ImageMask]:
    """Bring masks to the sizes of their images, those of one size together.

    Args:
        logits: (K, h, w) mask logits of letterboxed squares.
        letterboxes: geometry of the image of each.
        decodings: settings that hold for each: ``threshold`` and ``keep_logits``.
    """
    alike: dict[tuple[Letterbox, float, bool], list[int]] = {}
    for index, (letterbox, decoding) in enumerate(zip(letterboxes, decodings, strict=True)):
        alike.setdefault((letterbox, decoding.threshold, decoding.keep_logits), []).append(index)
    masks: dict[int, ImageMask] = {}
    for (letterbox, threshold, keep_logits), indices in alike.items():
        together = max(1, _PIXELS_TOGETHER // (letterbox.height * letterbox.width))
        for start in range(0, len(indices), together):
            some = indices[start : start + together]
            full = letterbox.invert_logits(torch.stack([logits[index] for index in some]))
            masks |= zip(some, _masks_of(full, threshold, keep_logits))
    return [masks[index] for index in range(len(masks))]


def _masks_of(logits: Tensor, threshold: float, keep_logits: bool) -> list[ImageMask]:
    """Masks of (n, H, W) logits."""
    foreground = logits > logit_of(threshold)
    inside = logits.sigmoid().mul_(foreground).sum((1, 2)) / foreground.sum((1, 2)).clamp(min=1)
    masks = foreground.cpu().numpy()
    regions = masks if threshold == 0.5 else (logits > 0).cpu().numpy()
    kept = logits.cpu().numpy() if keep_logits else [None] * len(logits)
    return [ImageMask(*one) for one in zip(masks, regions, inside.tolist(), kept)]
