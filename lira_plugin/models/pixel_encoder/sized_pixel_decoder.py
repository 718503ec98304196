"""mmdet's pixel decoder with the sizes of its maps as plain integers.

Shape letters: N images, D feature channels, K cells of all encoded levels, L encoded levels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.models.layers import MSDeformAttnPixelDecoder
from torch import Tensor


class SizedPixelDecoder(MSDeformAttnPixelDecoder):
    """mmdet's module with its arguments, weights and results.

    mmdet keeps the sizes in tensors: each layer waits for the device to read them, and ``torch.compile`` cannot trace them.
    """

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Maps (N, C_i, h_i, w_i) to mask features (N, D, h_0, w_0) and ``num_outs`` maps (N, D, h_i, w_i), smallest first."""
        num_images, device = len(feats[0]), feats[0].device
        inputs, positions, points, sizes = [], [], [], []
        for index, project in enumerate(self.input_convs):
            level = self.num_input_levels - index - 1
            height, width = size = tuple(feats[level].shape[-2:])
            no_padding = feats[level].new_zeros((num_images, *size), dtype=torch.bool)
            encoded = self.level_encoding.weight[index].view(1, -1, 1, 1) + self.postional_encoding(no_padding)
            cells = self.point_generator.single_level_grid_priors(size, level, device=device)
            stride = self.strides[level]
            inputs.append(project(feats[level]).flatten(2).transpose(1, 2))
            positions.append(encoded.flatten(2).transpose(1, 2))
            points.append(cells / torch.tensor([[width * stride, height * stride]], device=device))
            sizes.append(size)
        areas = [height * width for height, width in sizes]
        encoded = self.encoder(
            query=torch.cat(inputs, 1),
            query_pos=torch.cat(positions, 1),
            key_padding_mask=None,
            spatial_shapes=torch.tensor(sizes, device=device),
            level_start_index=torch.tensor([sum(areas[:level]) for level in range(len(areas))], device=device),
            valid_ratios=None,
            reference_points=torch.cat(points)[None, :, None].repeat(num_images, 1, len(sizes), 1),
            sizes=sizes,
        )
        parts = encoded.transpose(1, 2).split(areas, -1)
        maps = [part.reshape(num_images, -1, *size) for part, size in zip(parts, sizes, strict=True)]
        return self._join(feats, maps)

    def _join(self, feats: Sequence[Tensor], maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Go on to the larger maps, which the encoder does not read."""
        for index in reversed(range(self.num_input_levels - self.num_encoder_levels)):
            lateral = self.lateral_convs[index](feats[index])
            above = F.interpolate(maps[-1], lateral.shape[-2:], mode="bilinear", align_corners=False)
            maps.append(self.output_convs[index](lateral + above))
        return self.mask_feature(maps[-1]), maps[: self.num_outs]
