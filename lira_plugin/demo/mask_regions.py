"""What lies over the picture of masks: an outline each, which says phrase and score when it is pointed at or reached by Tab."""

import html
from collections.abc import Sequence

import cv2
import numpy as np

from lira_plugin.structures.mask_shapes import mask_box
from lira_plugin.visualization import Color


def region_svg(masks: Sequence[np.ndarray], labels: Sequence[str], colors: Sequence[Color]) -> str:
    """An SVG of the size of the masks; the smallest lies on top, so that each can be pointed at.

    Args:
        masks: (H, W) bool; empty ones are left out.
        labels: what each says.
        colors: of the outlines.
    """
    if not masks:
        return ""
    height, width = masks[0].shape
    drawn = sorted((mask.sum(), index) for index, mask in enumerate(masks) if mask.any())
    regions = [_region(masks[index], labels[index], colors[index]) for _, index in reversed(drawn)]
    return f'<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">{"".join(regions)}</svg>'


def _region(mask: np.ndarray, label: str, color: Color) -> str:
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    path = "".join(f"M{' '.join(f'{x},{y}' for x, y in contour[:, 0])}Z" for contour in found)
    said, size = html.escape(label, quote=True), max(mask.shape) / 32
    left, top, _, _ = mask_box(mask)
    x = min(float(left), max(0.0, mask.shape[1] - 0.6 * size * len(label)))
    y = max(top - size / 3, size)
    return (
        f'<g class="region" tabindex="0" role="img" aria-label="{said}" style="--color:rgb{color}">'.replace(", ", ",")
        + f'<path fill-rule="evenodd" d="{path}"/><text x="{x:.0f}" y="{y:.0f}" font-size="{size:.0f}">{said}</text></g>'
    )
