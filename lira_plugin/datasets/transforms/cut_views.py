"""Views of regions for training: cut from true masks, or from such as a model may give."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from lira_plugin.datasets.agreed import agreed, needed
from lira_plugin.datasets.transforms.image import to_channels_first
from lira_plugin.registry import TRANSFORMS
from lira_plugin.structures import InputSpec, region_view


@TRANSFORMS.register_module()
class CutViews(BaseTransform):
    """Cut the view of every region, for a semantic encoder that is to learn what they show.

    Args:
        size: side of a view, that of a tile; None takes the model's.
        shifted_view: share of the views cut from a shifted and scaled mask, as :class:`~lira_plugin.datasets.ILVC` does.

    Required Keys:

    - rng
    - image, masks

    Optional Keys:

    - empty_regions (they get no view)

    Added Keys:

    - view_tiles ((R, 3, size, size) uint8 tensor, in the order of the regions)
    """

    def __init__(self, size: int | None = None, shifted_view: float = 0.0) -> None:
        if not 0 <= shifted_view <= 1:
            raise ValueError(f"shifted_view is a share and must lie in 0..1, got {shifted_view}")
        self.size, self.shifted_view = size, shifted_view

    def fit_to_model(self, spec: InputSpec) -> None:
        """Take the size from the model, or compare it with it.

        Raises:
            Disagreement: see :func:`~lira_plugin.datasets.agreed.agreed`.
        """
        self.size = agreed("size", self.size, spec, "tile_size")

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Cut them."""
        image, rng, size = results["image"], results["rng"], needed(self.size, self, "size")
        empty = results.get("empty_regions", ())
        seen = [mask for region, mask in enumerate(results["masks"]) if region not in empty]
        masks = [shift_mask(mask, rng) if rng.random() < self.shifted_view else mask for mask in seen]
        results["view_tiles"] = stack_views([region_view(image, mask, size) for mask in masks], size)
        return results


def stack_views(views: Sequence[np.ndarray], size: int) -> torch.Tensor:
    """(size, size, 3) uint8 arrays to a (R, 3, size, size) uint8 tensor; R may be 0."""
    if not views:
        return torch.zeros((0, 3, size, size), dtype=torch.uint8)
    return to_channels_first(np.stack(views))


def shift_mask(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Move a (H, W) mask by up to 40 % of its extent and scale it by 0.7 to 1.4, each axis by itself."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return mask
    shifted = mask
    for axis, covered in enumerate((rows, columns)):
        low, extent = covered.min(), np.ptp(covered) + 1
        centre = low + extent / 2
        scale, offset = rng.uniform(0.7, 1.4), rng.uniform(-0.4, 0.4) * extent
        source = np.round((np.arange(mask.shape[axis]) + 0.5 - centre - offset) / scale + centre - 0.5).astype(int)
        inside = (source >= 0) & (source < mask.shape[axis])
        shifted = shifted.take(source.clip(0, mask.shape[axis] - 1), axis)
        shifted = shifted & (inside[:, None] if axis == 0 else inside[None])
    return shifted
