"""The perception prior: which query stands for which cell of the image.

Shape letters: N images, Q object queries, C classes, h x w mask feature map.
"""

import torch
from torch import Tensor


def perception_prior(
    class_logits: Tensor, mask_logits: Tensor, image_size: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """How strongly each query claims each pixel token (``omg_seg_visual_encoder.py:167-215``).

    By definition: ``(0.5 s_q + 0.5) * sigmoid(mask_q)`` at the size of the image, resized to the grid (bilinear, no
    antialiasing), where ``s_q`` is the highest class probability without the background. A cell of the grid reads at most
    2 x 2 pixels of the image, so only those are computed. The result equals the definition up to rounding; at 1024 pixels
    and a grid of 16 it touches one pixel in 1024. Always in fp32: which query wins a cell hangs on small differences.

    Args:
        class_logits: (N, Q, C + 1), background last.
        mask_logits: (N, Q, h, w).
        image_size: (height, width) of the image.
        grid: (rows, columns) of pixel tokens.

    Returns:
        (N, Q, rows, columns) in 0..1.
    """
    scores = class_logits.float().softmax(-1)[..., :-1].amax(-1)
    (up_rows, down_rows), (up_columns, down_columns) = (
        _resampling(mask_logits.shape[-2 + axis], image_size[axis], grid[axis], mask_logits.device) for axis in (0, 1)
    )
    with torch.autocast(mask_logits.device.type, enabled=False):
        read = up_rows @ mask_logits.float() @ up_columns.T
        return (0.5 * scores + 0.5)[..., None, None] * (down_rows @ read.sigmoid() @ down_columns.T)


def used_queries(prior: Tensor) -> Tensor:
    """(N, Q) bool from a (N, Q, rows, columns) prior: the query wins at least one cell."""
    winners = prior.flatten(2).argmax(1)
    used = torch.zeros(prior.shape[:2], dtype=torch.bool, device=prior.device)
    return used.scatter_(1, winners, True)


def _resampling(source: int, full: int, cells: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Matrices that resize one axis from ``source`` to the read pixels of ``full``, and from these to ``cells``."""
    low, high, weight = _bilinear(full, cells, device)
    pixels = torch.stack([low, high], 1).flatten()
    source_low, source_high, source_weight = _bilinear(source, full, device)
    up = torch.zeros(2 * cells, source, device=device)
    rows = torch.arange(2 * cells, device=device)
    up.index_put_((rows, source_low[pixels]), 1 - source_weight[pixels], accumulate=True)
    up.index_put_((rows, source_high[pixels]), source_weight[pixels], accumulate=True)
    down = torch.zeros(cells, 2 * cells, device=device)
    cell = torch.arange(cells, device=device)
    down[cell, 2 * cell] = 1 - weight
    down[cell, 2 * cell + 1] = weight
    return up, down


def _bilinear(source: int, target: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Lower and upper source index and weight of the upper, as ``F.interpolate(align_corners=False)`` has them."""
    centre = (torch.arange(target, device=device, dtype=torch.float32) + 0.5) * (source / target) - 0.5
    centre = centre.clamp(min=0)
    low = centre.floor().long().clamp(max=source - 1)
    return low, (low + 1).clamp(max=source - 1), centre - low
