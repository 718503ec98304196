"""Multi-scale deformable attention without compiled operators, level by level.

Shape letters: N images, K cells of all levels, Q queries, A heads, L levels, P points, D channels of a head.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.ops import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from torch import Tensor

from lira_plugin.compat.mmcv_ops import has_compiled_ops

_COMPILED = has_compiled_ops()


class DeformableAttention(MultiScaleDeformableAttention):
    """mmcv's module (Deformable DETR, arXiv 2010.04159, equation 3) with less memory and time where nothing is compiled.

    Arguments and weights are mmcv's, with ``batch_first=True``. On GPUs mmcv's compiled operator runs if it is there, else
    :func:`sample_levels`.

    Values are in fp32 under autocast, too, as in the reference (``omg_seg_visual_encoder.py:111-115``). mmcv casts the points
    it samples to the type of the values: of a map of 128 cells a side 8 bits tell them to a quarter of a cell, and its
    compiled operator knows no bfloat16 at all.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes: Tensor | None = None,
        level_start_index: Tensor | None = None,
        sizes: Sequence[Sequence[int]] | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Attend from (N, Q, A * D) queries to (N, K, A * D) values; arguments as mmcv's.

        ``reference_points`` (N, Q, L, 2) are x and y as shares of the sides, ``spatial_shapes`` (L, 2) heights and widths.
        ``sizes`` are these as integers, which spares reading them from the device.

        Raises:
            ValueError: the module was made with ``batch_first=False``, mmcv's default.
        """
        if not self.batch_first:
            raise ValueError("DeformableAttention takes the images first: make it with batch_first=True")
        values = self.value_proj(query if value is None else value).float()
        if key_padding_mask is not None:
            values = values.masked_fill(key_padding_mask[..., None], 0.0)
        values = values.unflatten(-1, (self.num_heads, -1))
        identity = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        shape = (*query.shape[:2], self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).view(*shape, 2) / spatial_shapes.flip(-1)[:, None]
        points = reference_points[:, :, None, :, None] + offsets
        weights = self.attention_weights(query).view(*shape[:3], -1).softmax(-1).view(shape)
        if _COMPILED and values.is_cuda and not torch.compiler.is_compiling():
            attended = MultiScaleDeformableAttnFunction.apply(
                values, spatial_shapes, level_start_index, points, weights, self.im2col_step
            )
        else:
            sizes = spatial_shapes.tolist() if sizes is None else sizes
            attended = sample_levels(values, sizes, points.to(values), weights.to(values))
        return self.dropout(self.output_proj(attended)) + identity


def sample_levels(values: Tensor, sizes: Sequence[Sequence[int]], points: Tensor, weights: Tensor) -> Tensor:
    """Sums of bilinear samples, 0 outside of the maps.

    mmcv's function (``multi_scale_deformable_attn_pytorch``) keeps the samples of all levels and copies them twice; here those
    of a level are summed as soon as they are there, with the queries as the inner dimension.

    Args:
        values: (N, K, A, D), level after level.
        sizes: height and width of each of the L levels.
        points: (N, Q, A, L, P, 2), x and y as shares of the sides.
        weights: (N, Q, A, L, P).

    Returns:
        (N, Q, A * D).
    """
    num_images, _, num_heads, channels = values.shape
    grids = (2 * points - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)  # (L, N * A, P, Q, 2)
    factors = weights.permute(3, 0, 2, 4, 1).flatten(1, 2)[:, :, None]  # (L, N * A, 1, P, Q)
    levels = values.split([height * width for height, width in sizes], 1)
    total = 0
    for level, size, grid, factor in zip(levels, sizes, grids, factors, strict=True):
        level = level.flatten(2).transpose(1, 2).reshape(num_images * num_heads, channels, *size)
        total = total + (F.grid_sample(level, grid, align_corners=False) * factor).sum(2)
    return total.view(num_images, num_heads * channels, -1).transpose(1, 2)
