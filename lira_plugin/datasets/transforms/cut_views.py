"""Views of regions for training: cut from true masks, or from such as a model may give."""

from collections.abc import Sequence
from math import fsum
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from lira_plugin.datasets.agreed import agreed, needed
from lira_plugin.datasets.transforms.image import to_channels_first
from lira_plugin.datasets.transforms.mask_jitter import jitter_mask
from lira_plugin.registry import TRANSFORMS
from lira_plugin.structures import InputSpec, region_view


@TRANSFORMS.register_module()
class CutViews(BaseTransform):
    """Cut the view of every region, for a semantic encoder that is to learn what they show.

    Args:
        size: side of a view, that of a tile; None takes the model's.
        shifted_view: share of the views cut from a shifted and scaled mask, as :class:`~lira_plugin.datasets.ILVC` does.
        rough_view: share of the views cut from a mask with a rough outline
            (:func:`~lira_plugin.datasets.transforms.mask_jitter.roughen_mask`).

    Required Keys:

    - rng
    - image, masks

    Optional Keys:

    - empty_regions (they get no view)

    Added Keys:

    - view_tiles ((R, 3, size, size) uint8 tensor, in the order of the regions)
    """

    def __init__(self, size: int | None = None, shifted_view: float = 0.0, rough_view: float = 0.0) -> None:
        if shifted_view < 0 or rough_view < 0 or fsum((shifted_view, rough_view)) > 1:
            raise ValueError(
                f"shares must lie in 0..1, and so must their sum, got shifted_view={shifted_view}, rough_view={rough_view}"
            )
        self.size, self.shifted_view, self.rough_view = size, shifted_view, rough_view

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
        jittered = [jitter_mask(mask, rng.random(), self.shifted_view, self.rough_view, rng) for mask in seen]
        results["view_tiles"] = stack_views([region_view(image, mask, size) for mask in jittered], size)
        return results


def stack_views(views: Sequence[np.ndarray], size: int) -> torch.Tensor:
    """(size, size, 3) uint8 arrays to a (R, 3, size, size) uint8 tensor; R may be 0."""
    if not views:
        return torch.zeros((0, 3, size, size), dtype=torch.uint8)
    return to_channels_first(np.stack(views))
