"""A segmenter that learns to decode given queries too, and whose queries can look at a grid of points.

Shape letters: N images, Q queries, M objects, D feature channels, S target side.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from lira_plugin.models.from_scratch.grid_queries import grid_points, mask_centres
from lira_plugin.models.pixel_encoder.mask2former import DecoderMemory
from lira_plugin.models.pixel_encoder.segmenter import Mask2FormerSegmenter, Segmented
from lira_plugin.models.point_losses import PointSampling, point_losses
from lira_plugin.registry import MODELS


class Matched(NamedTuple):
    """Which query stands for which object of N images."""

    owned: Tensor
    """(N, Q) bool."""
    masks: Tensor
    """(M, S, S), the object of each of the M owners, in the order of ``owned``."""
    labels: Tensor
    """(M,), its class."""


@MODELS.register_module()
class PromptedSegmenter(Mask2FormerSegmenter):
    """A segmenter to train from nothing, in the place of OMG-Seg's weights.

    OMG-Seg, which LIRA builds on, learns to decode prompts, one query alone, beside its own queries. Without that a query that
    was decoded before, as an object token is, decodes to a worse mask than it stood for.

    Takes the arguments of :class:`~lira_plugin.models.pixel_encoder.segmenter.Mask2FormerSegmenter` beside these:

    Args:
        prompt_loss_weight: weight of the losses of :meth:`prompt_losses`, 0 for none.
        prompt_noise: standard deviation of the noise on the queries of :meth:`prompt_losses`; LayerNorm gives their features
            a deviation of about one.
        prompt_mixup: up to which share a query of :meth:`prompt_losses` is mixed with that of an object of the same class in
            another image. The decoder then finds an object from what its class has in common, too, which is what a
            ``<seg>`` state knows that understands the words better than the image.
        grid_queries: start the query positions as the position encodings of a square grid of points (the anchor points of Anchor
            DETR, arXiv 2109.07107), so that each query looks for objects near its point, and says where it looks. A matching
            with :class:`~lira_plugin.models.from_scratch.grid_queries.AnchorCost` keeps it so.

    Raises:
        ValueError: ``grid_queries`` without a square number of queries.
    """

    def __init__(
        self,
        *args: Any,
        prompt_loss_weight: float = 0.0,
        prompt_noise: float = 0.0,
        prompt_mixup: float = 0.0,
        grid_queries: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.prompt_loss_weight, self.prompt_noise, self.prompt_mixup = prompt_loss_weight, prompt_noise, prompt_mixup
        self.grid_queries = grid_queries
        if grid_queries and math.isqrt(self.num_queries) ** 2 != self.num_queries:
            raise ValueError(
                f"grid_queries=True needs a square number of queries, such as 25 or 100, got {self.num_queries}"
            )

    def init_weights(self) -> None:
        """Initialise as mmdet does, and put the queries on their grid."""
        super().init_weights()
        if self.grid_queries:
            side = math.isqrt(self.num_queries)
            cells = self.encode_positions(self.query_embed.weight.new_zeros(1, 1, side, side))
            with torch.no_grad():
                self.query_embed.weight.copy_(cells[0])

    def prepare_matching(self, queries: InstanceData, objects: InstanceData, masks: Tensor) -> None:
        """Say where grid queries look and where objects are, which ``AnchorCost`` compares."""
        if self.grid_queries:
            points = grid_points(math.isqrt(self.num_queries), masks.device)
            queries.anchors = points.repeat(len(queries) // self.num_queries, 1)
            objects.centres = mask_centres(masks)

    def instance_losses(
        self, decoder_memory: DecoderMemory, segmented: Segmented, truth: Sequence[InstanceData]
    ) -> dict[str, Tensor]:
        """Mask2Former's losses and, under ``prompted.*``, those of :meth:`prompt_losses`."""
        losses = super().instance_losses(decoder_memory, segmented, truth)
        if self.prompt_loss_weight:
            losses |= self.prompt_losses(decoder_memory, segmented, self.match(segmented, truth))
        return losses

    def match(self, segmented: Segmented, truth: Sequence[InstanceData]) -> Matched:
        """Give each object the query of the last output that costs least, as the losses do.

        Args:
            segmented: of :meth:`segment`.
            truth: ``labels`` (M,) and ``masks`` (M, S, S) of each image.
        """
        labels, _, masks, weights, _ = self.get_targets(segmented.class_logits[-1], segmented.mask_logits[-1], truth)
        owned = torch.stack(weights) > 0
        return Matched(owned, torch.cat(masks), torch.stack(labels)[owned])

    def prompt_losses(self, decoder_memory: DecoderMemory, segmented: Segmented, matched: Matched) -> dict[str, Tensor]:
        """Decode the final queries that own an object once more, each alone, and ask for the same object.

        This is what becomes of a ``<seg>`` state that recovers an object's query.

        Args:
            decoder_memory: of N images.
            segmented: of :meth:`segment`.
            matched: of :meth:`match`.
        """
        features = segmented.query_features.detach()
        features = features + self.prompt_noise * torch.randn_like(features)
        prompts = torch.cat([features, self.query_embed.weight.expand_as(features)], -1)
        if self.prompt_mixup and len(matched.labels):
            mixed = _mix_within_classes(prompts[matched.owned], matched, self.prompt_mixup)
            prompts = prompts.index_put(matched.owned.nonzero(as_tuple=True), mixed)
        again = self.decoder(decoder_memory, *prompts.chunk(2, -1), independent=True)
        sampling = PointSampling(self.num_points, self.oversample_ratio, self.importance_sample_ratio)
        outputs = [logits[matched.owned] for logits in again.mask_logits[1:]]
        losses = point_losses(outputs, matched.masks, self.loss_mask, self.loss_dice, sampling)
        return {f"prompted.{name}": self.prompt_loss_weight * loss for name, loss in losses.items()}


def _mix_within_classes(prompts: Tensor, matched: Matched, most: float) -> Tensor:
    """Mix each of (M, 2D) prompts with that of a random object of its class in another image, where there is one.

    The share of the other is uniform in 0..most.
    """
    image = matched.owned.nonzero()[:, 0]
    candidates = (matched.labels[:, None] == matched.labels) & (image[:, None] != image)
    candidates |= torch.diag(~candidates.any(1))  # itself where there is none
    other = torch.multinomial(candidates.float(), 1)[:, 0]
    return torch.lerp(prompts, prompts[other], most * torch.rand_like(prompts[:, :1]))
