"""From the hidden state of a ``<seg>`` to a mask: a one-query Mask2Former decoder, and its losses.

Shape letters: K ``<seg>`` states, N images, H width of the LLM, D query channels, h x w mask feature map, S target side.
"""

from mmengine.config import ConfigDict
from torch import Tensor, nn

from lira_plugin.models.point_losses import PointSampling, point_losses
from lira_plugin.models.segmenter import Mask2FormerSegmenter, Pyramid
from lira_plugin.registry import MODELS


@MODELS.register_module()
class MaskDecoder(nn.Module):
    """Turns ``<seg>`` states into queries of a segmenter's decoder (``mask2former_vid_semanticsam.py:320-591``).

    The decoder's weights are the segmenter's; only the projection of the states belongs to this module.

    Args:
        hidden_size: H.
        query_channels: D.
        loss_mask: config of the point-wise loss, mmdet's ``CrossEntropyLoss`` with ``use_sigmoid``.
        loss_dice: config of mmdet's ``DiceLoss``.
        num_points: points sampled a mask.
        oversample_ratio: candidates a point, among which the most uncertain are chosen.
        importance_sample_ratio: share of points chosen by uncertainty, the rest at random.
    """

    def __init__(
        self,
        hidden_size: int,
        query_channels: int = 256,
        loss_mask: dict | None = None,
        loss_dice: dict | None = None,
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
    ) -> None:
        super().__init__()
        width = 2 * query_channels
        self.state_proj = nn.Sequential(nn.Linear(hidden_size, width), nn.GELU(), nn.Linear(width, width))
        self.loss_mask = MODELS.build(
            loss_mask or ConfigDict(type="mmdet.CrossEntropyLoss", use_sigmoid=True, loss_weight=2.0)
        )
        self.loss_dice = MODELS.build(
            loss_dice
            or ConfigDict(
                type="mmdet.DiceLoss", use_sigmoid=True, activate=True, naive_dice=True, eps=1.0, loss_weight=0.5
            )
        )
        self.sampling = PointSampling(num_points, oversample_ratio, importance_sample_ratio)

    def forward(
        self, states: Tensor, image_owner: Tensor, pyramid: Pyramid, segmenter: Mask2FormerSegmenter
    ) -> list[Tensor]:
        """Decode each state by itself.

        Queries of one image share its memories: they stand side by side with the self-attention between them cut,
        so no feature is copied a query and the result is that of K decoders with one query each.

        Args:
            states: (K, H).
            image_owner: (K,) image of each state.
            pyramid: of N images.
            segmenter: whose decoder is used.

        Returns:
            Mask logits (K, h, w) of every decoder output, the last one being the result.
        """
        images, owner_in_use = image_owner.unique(return_inverse=True)
        if 0 < len(images) < len(pyramid.mask_features):
            pyramid, image_owner = pyramid.of(images), owner_in_use
        slots, num_slots = _slot_in_image(image_owner)
        queries = states.new_zeros(len(pyramid.mask_features), num_slots, self.state_proj[-1].out_features)
        queries = queries.to(pyramid.mask_features.dtype)
        queries = queries.index_put((image_owner, slots), self.project(states).to(queries.dtype))
        features, positions = queries.chunk(2, -1)
        decoded = segmenter.decode(pyramid, features, positions, independent=True, classify="none")
        return [logits[image_owner, slots] for logits in decoded.mask_logits]

    def project(self, states: Tensor) -> Tensor:
        """States (..., H) of the LLM, which may be of another type, to queries (..., 2D): features and positions."""
        return self.state_proj(states.to(self.state_proj[0].weight.dtype))

    def loss(self, mask_logits: list[Tensor], targets: Tensor) -> dict[str, Tensor]:
        """Point-sampled losses, summed over all decoder outputs and averaged over the masks of all training processes, in fp32.

        Args:
            mask_logits: J maps of (K, h, w).
            targets: (K, S, S) bool or 0..1; a mask may be empty.

        Returns:
            ``loss_mask`` and ``loss_dice``; with K = 0 both are an exact zero that still reaches the inputs.
        """
        return point_losses(mask_logits, targets, self.loss_mask, self.loss_dice, self.sampling)


def _slot_in_image(image_owner: Tensor) -> tuple[Tensor, int]:
    """Number the states of each image 0, 1, ...; return the numbers and how many the fullest image has."""
    same = image_owner[:, None] == image_owner[None, :]
    slots = same.tril(-1).sum(-1)
    return slots, int(slots.max()) + 1 if len(slots) else 1
