"""From mask logits of letterboxed squares to masks of images."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from mmengine.logging import print_log
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

    A pixel without a value (NaN, as weights that are not finite give it) is background, and a warning tells of it; scores are
    numbers always.

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
            squares = torch.stack([logits[index] for index in some])
            _warn_of_nan(squares)
            full = letterbox.invert_logits(squares)
            masks |= zip(some, _masks_of(full, threshold, keep_logits))
    return [masks[index] for index in range(len(masks))]


def _masks_of(logits: Tensor, threshold: float, keep_logits: bool) -> list[ImageMask]:
    """Masks of (n, H, W) logits."""
    foreground = logits > logit_of(threshold)
    inside = logits.sigmoid().nan_to_num_(0.0).mul_(foreground).sum((1, 2)) / foreground.sum((1, 2)).clamp(min=1)
    masks = foreground.cpu().numpy()
    regions = masks if threshold == 0.5 else (logits > 0).cpu().numpy()
    kept = logits.cpu().numpy() if keep_logits else [None] * len(logits)
    return [ImageMask(*one) for one in zip(masks, regions, inside.tolist(), kept)]


def _warn_of_nan(logits: Tensor) -> None:
    """Tell of (n, h, w) logits without a value."""
    spoilt = int(logits.isnan().flatten(1).any(1).sum())
    if spoilt:
        print_log(
            f"{spoilt} of {len(logits)} masks hold NaN, which counts as background: are the weights of the model finite?",
            logger="current",
            level=logging.WARNING,
        )
