"""The pixel encoder: backbone, pixel decoder and segmenter, and the perception prior made of them.

Shape letters: N images, S image side, P pixel tokens (g x g), Q object queries, D query channels, C classes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor, nn

from lira_plugin.models.checkpoint import refuse_others
from lira_plugin.models.data_parallel import LoggedModel
from lira_plugin.models.precision import autocast_to_weights
from lira_plugin.models.segmenter import Classify, Decoded, Mask2FormerSegmenter, Pyramid
from lira_plugin.registry import MODELS
from lira_plugin.structures import GroundingBatch


class PixelFeatures(NamedTuple):
    """What the pixel encoder knows of N images."""

    pixels: Tensor
    """(N, P, r * r * C_last + 2D): last backbone feature, unshuffled, with the perception prior."""
    objects: Tensor
    """(N, Q, 2D): query features after the decoder and query positions."""
    object_valid: Tensor
    """(N, Q) bool: the query is the most probable one in at least one cell."""
    object_masks: Tensor
    """(N, Q, h, w) bool: what each query segments, at the size of the mask features."""
    pyramid: Pyramid
    """Memories and mask features, for the mask decoder."""

    @classmethod
    def joined(cls, parts: "Sequence[PixelFeatures]") -> "PixelFeatures":
        """The features of the images of all parts, in order; of a single part themselves."""
        if len(parts) == 1:
            return parts[0]
        *tensors, pyramids = zip(*parts)
        return cls(*map(torch.cat, tensors), Pyramid.joined(pyramids))


@MODELS.register_module()
class PixelEncoder(LoggedModel):
    """Backbone and segmenter; trains alone on instances, and gives :class:`PixelFeatures` to LIRA.

    As a model of its own (the segmenter stage) it learns COCO instances with Mask2Former's losses.

    Args:
        backbone: config of a network that returns feature maps of strides 4, 8, 16, 32 (timm ``features_only``).
        segmenter: config of :class:`~lira_plugin.models.segmenter.Mask2FormerSegmenter`.
        unshuffle: ratio of the space-to-depth step that makes pixel tokens of the last feature map.
        mean, std: normalisation of values in 0..1.
    """

    def __init__(
        self,
        backbone: dict,
        segmenter: dict,
        unshuffle: int = 2,
        mean: tuple[float, ...] = (0.4814, 0.4578, 0.4082),
        std: tuple[float, ...] = (0.2686, 0.2613, 0.2757),
    ) -> None:
        super().__init__()
        self.backbone: nn.Module = MODELS.build(backbone)
        self.segmenter: Mask2FormerSegmenter = MODELS.build(segmenter)
        self.segmenter.init_weights()
        self.unshuffle = unshuffle
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.register_load_state_dict_pre_hook(refuse_others)

    def encode(self, images: Tensor) -> PixelFeatures:
        """Encode (N, 3, S, S) uint8 images."""
        pyramid, decoded, last = self._segment(images, "last")
        grid = (last.shape[-2] // self.unshuffle, last.shape[-1] // self.unshuffle)
        prior = perception_prior(decoded.class_logits[-1], decoded.mask_logits[-1], images.shape[-2:], grid)
        positions = self.segmenter.query_embed.weight.expand_as(decoded.query_features)
        objects = torch.cat([decoded.query_features, positions], -1)
        # softmax over the queries, times the queries: almost flat, since the prior is in 0..1
        perceived = prior.softmax(1).flatten(2).transpose(1, 2) @ objects
        return PixelFeatures(
            pixels=torch.cat([space_to_depth(last, self.unshuffle), perceived], -1),
            objects=objects,
            object_valid=used_queries(prior),
            object_masks=decoded.mask_logits[-1] > 0,
            pyramid=pyramid,
        )

    def forward(self, batch: GroundingBatch, data_samples: Any = None, mode: str = "loss") -> Any:
        """The segmenter stage.

        Returns:
            ``loss``: Mask2Former's losses of all decoder outputs; ``predict``: a list with one ``InstanceData``
            (``scores`` (Q,), ``labels`` (Q,), ``masks`` (Q, S, S) bool) an image; ``tensor``: :class:`PixelFeatures`.
        """
        with autocast_to_weights(self):
            return self._forward(batch, mode)

    def _forward(self, batch: GroundingBatch, mode: str) -> Any:
        if mode == "tensor":
            return self.encode(batch.pixel_images)
        pyramid, decoded, _ = self._segment(batch.pixel_images)
        if mode == "predict":
            return self._instances(decoded, batch.pixel_images.shape[-2:])
        if mode != "loss":
            raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")
        truth = [
            InstanceData(labels=batch.mask_labels[owned], masks=batch.masks[owned].float())
            for owned in (batch.mask_owner == image for image in range(len(batch.pixel_images)))
        ]
        losses = self.segmenter.loss_by_feat(decoded.class_logits, decoded.mask_logits, truth, [{}] * len(truth))
        if self.segmenter.prompted:
            matched = self.segmenter.match(decoded, truth)
            losses |= self.segmenter.prompted_losses(pyramid, decoded, matched)
        return losses

    def _segment(self, images: Tensor, classify: Classify = "all") -> tuple[Pyramid, Decoded, Tensor]:
        maps = self.backbone((images.to(self.mean.dtype) / 255 - self.mean) / self.std)
        pyramid = self.segmenter.encode(maps)
        return pyramid, self.segmenter.segment(pyramid, classify), maps[-1]

    @staticmethod
    def _instances(decoded: Decoded, size: tuple[int, int]) -> list[InstanceData]:
        scores, labels = decoded.class_logits[-1].softmax(-1)[..., :-1].max(-1)
        return [
            InstanceData(scores=score, labels=label, masks=_enlarged(logits, size) > 0)
            for score, label, logits in zip(scores, labels, decoded.mask_logits[-1])
        ]


def _enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(Q, h, w) to (Q, *size), bilinear: of one image, for those of a batch would take gigabytes."""
    return F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]


def space_to_depth(feature: Tensor, ratio: int) -> Tensor:
    """(N, C, h, w) to (N, h * w / r^2, r^2 * C), channels ordered (row in block, column in block, C).

    The order is that of ``omg_seg_visual_encoder.py:54-75``, not torch's channel-major ``pixel_unshuffle``.
    """
    num, channels, height, width = feature.shape
    if height % ratio or width % ratio:
        raise ValueError(
            f"a {height}x{width} feature map cannot be unshuffled by {ratio}: change the image size or the ratio"
        )
    blocks = feature.view(num, channels, height // ratio, ratio, width // ratio, ratio)
    return blocks.permute(0, 2, 4, 3, 5, 1).reshape(num, -1, ratio * ratio * channels)


def perception_prior(
    class_logits: Tensor, mask_logits: Tensor, image_size: tuple[int, int], grid: tuple[int, int]
) -> Tensor:
    """How strongly each query claims each pixel token (``omg_seg_visual_encoder.py:167-215``).

    By definition: ``(0.5 s_q + 0.5) * sigmoid(mask_q)`` at the size of the image, resized to the grid (bilinear, no
    antialiasing), where ``s_q`` is the highest class probability without the background. A cell of the grid reads at most
    2 x 2 pixels of the image, so only those are computed: equal to the definition up to rounding, and at 1024 pixels
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
