"""The Mask2Former segmenter, whose decoder serves both its own queries and those of ``<seg>`` tokens.

Shape letters: N images, Q queries, D feature channels, C classes, h x w mask feature map.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from mmcv.ops import MultiScaleDeformableAttention, point_sample
from mmdet.models import Mask2FormerHead
from mmdet.models.layers import SinePositionalEncoding3D
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lira_plugin.models.anchor_cost import grid_points, mask_centres
from lira_plugin.models.attribute_classifier import AttributeClassifier
from lira_plugin.models.deformable_attention import DeformableAttention
from lira_plugin.models.open_vocabulary import OpenVocabularyClassifier
from lira_plugin.models.point_losses import PointSampling, point_losses
from lira_plugin.registry import MODELS

Classify = Literal["all", "last", "none"]
"""Which decoder outputs have class logits; with an open vocabulary each costs a pass over the mask features."""


class Pyramid(NamedTuple):
    """What the transformer decoder reads of the images: the pixel decoder's outputs."""

    mask_features: Tensor
    """(N, D, h, w)."""
    memories: tuple[Tensor, ...]
    """One (N, h_i * w_i, D) a level, from low to high resolution, level embedding added."""
    positions: tuple[Tensor, ...]
    """Sine position encodings, one (1, h_i * w_i, D) a level: those of all images."""
    sizes: tuple[tuple[int, int], ...]
    """(h_i, w_i) of each level."""

    def of(self, images: Tensor) -> "Pyramid":
        """The pyramid of some of the images, given by their indices."""
        memories = tuple(level[images] for level in self.memories)
        return Pyramid(self.mask_features[images], memories, self.positions, self.sizes)

    @classmethod
    def joined(cls, parts: "Sequence[Pyramid]") -> "Pyramid":
        """The pyramid of the images of all parts, which have equal sizes."""
        memories = tuple(map(torch.cat, zip(*(part.memories for part in parts))))
        return cls(torch.cat([part.mask_features for part in parts]), memories, parts[0].positions, parts[0].sizes)


class Decoded(NamedTuple):
    """Outputs of the transformer decoder."""

    query_features: Tensor
    """(N, Q, D) after the last layer."""
    class_logits: list[Tensor]
    """One (N, Q, C + 1) before the first layer and after each; empty where classes were not asked for."""
    mask_logits: list[Tensor]
    """One (N, Q, h, w) before the first layer and after each."""


class Matched(NamedTuple):
    """Which query stands for which object of N images."""

    owned: Tensor
    """(N, Q) bool."""
    masks: Tensor
    """(M, S, S), the object of each of the M owners, in the order of ``owned``."""
    labels: Tensor
    """(M,), its class."""


@MODELS.register_module()
class Mask2FormerSegmenter(Mask2FormerHead):
    """mmdet's Mask2Former head, with its forward pass cut into parts that others can call.

    Takes the arguments of :class:`mmdet.models.Mask2FormerHead`; dictionaries may be plain.

    Args:
        class_attributes: how many values each attribute has of which classes are combinations; queries are then classified by
            their attributes (:class:`~lira_plugin.models.attribute_classifier.AttributeClassifier`) instead of by one weight
            vector a class.
        anchored: start the query positions as the position encodings of a square grid of points (the anchor points of Anchor
            DETR, arXiv 2109.07107), so that each query looks for objects near its point, and says where it looks; a
            matching with :class:`~lira_plugin.models.anchor_cost.AnchorCost` keeps it so. Needs a square number of queries.
        prompted: weight of the losses of :meth:`prompted_losses`, 0 for none. OMG-Seg, which LIRA builds on, learns to
            decode prompts, one query alone, beside its own queries; without it a query that was decoded before, as
            an object token is, decodes to a worse mask than it stood for.
        prompt_noise: standard deviation of the noise on the queries of :meth:`prompted_losses`; LayerNorm gives their features
            a deviation of about one.
        prompt_mixup: up to which share a query of :meth:`prompted_losses` is mixed with that of an object of the same class in
            another image. The decoder then finds an object from what its class has in common, too, which is what a
            ``<seg>`` state knows that understands the words better than the image.
        open_vocabulary: arguments of :class:`~lira_plugin.models.open_vocabulary.OpenVocabularyClassifier`, which then
            classifies.
        video_positions: encode positions as in a video of one frame, which adds a constant vector to the encoding of an image;
            OMG-Seg was trained so.
    """

    def __init__(
        self,
        *args: Any,
        class_attributes: Sequence[int] | None = None,
        anchored: bool = False,
        prompted: float = 0.0,
        prompt_noise: float = 0.0,
        prompt_mixup: float = 0.0,
        open_vocabulary: dict | None = None,
        video_positions: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs = {key: ConfigDict(value) if isinstance(value, dict) else value for key, value in kwargs.items()}
        super().__init__(*args, **kwargs)
        for module in self.pixel_decoder.modules():
            if isinstance(module, MultiScaleDeformableAttention):
                module.__class__ = DeformableAttention  # mmdet's layers make mmcv's, whatever their config says
        self.anchored, self.prompted = anchored, prompted
        self.prompt_noise, self.prompt_mixup = prompt_noise, prompt_mixup
        if anchored and math.isqrt(self.num_queries) ** 2 != self.num_queries:
            raise ValueError(
                f"anchored=True needs a square number of queries, such as 25 or 100, got {self.num_queries}"
            )
        self.video_positions = video_positions
        if video_positions:
            encoding = self.decoder_positional_encoding
            self.decoder_positional_encoding = SinePositionalEncoding3D(
                encoding.num_feats, normalize=encoding.normalize
            )
        if class_attributes is not None:
            self.cls_embed = AttributeClassifier(self.cls_embed.in_features, class_attributes)
            if self.cls_embed.num_classes != self.num_classes:
                raise ValueError(
                    f"attributes with {list(class_attributes)} values make {self.cls_embed.num_classes} classes, not "
                    f"{self.num_classes}"
                )
        if open_vocabulary is not None:
            if class_attributes is not None:
                raise ValueError("give class_attributes or open_vocabulary, not both")
            self.cls_embed = OpenVocabularyClassifier(self.cls_embed.in_features, **open_vocabulary)
            if len(self.cls_embed.class_embeddings) != self.num_classes:
                known = len(self.cls_embed.class_embeddings)
                raise ValueError(f"{self.num_classes} classes need as many class embeddings, got {known}")

    def init_weights(self) -> None:
        """Initialise as mmdet does, and set the anchors."""
        super().init_weights()
        if self.anchored:
            side = math.isqrt(self.num_queries)
            grid = self.decoder_positional_encoding(
                self.query_embed.weight.new_zeros((1, side, side), dtype=torch.bool)
            )
            with torch.no_grad():
                self.query_embed.weight.copy_(grid.flatten(2)[0].T)

    def encode(self, features: Sequence[Tensor]) -> Pyramid:
        """Run the pixel decoder over backbone ``features``, each (N, C_i, h_i, w_i)."""
        mask_features, maps = self.pixel_decoder(list(features))
        memories, positions, sizes = [], [], []
        for level in range(self.num_transformer_feat_level):
            memory = self.decoder_input_projs[level](maps[level])
            positions.append(self._positions(memory[:1]))
            sizes.append(tuple(memory.shape[-2:]))
            memories.append(memory.flatten(2).transpose(1, 2) + self.level_embed.weight[level])
        return Pyramid(mask_features, tuple(memories), tuple(positions), tuple(sizes))

    def decode(
        self,
        pyramid: Pyramid,
        query_features: Tensor,
        query_positions: Tensor,
        independent: bool = False,
        classify: Classify = "all",
    ) -> Decoded:
        """Run the transformer decoder.

        Args:
            pyramid: of N images.
            query_features: (N, Q, D).
            query_positions: (N, Q, D).
            independent: cut the self-attention between queries, so that each is decoded as if it were alone.
            classify: the outputs that class logits are computed for. With ``"last"`` the others' mask logits are dropped too:
                of 300 queries at 256 x 256 each would be 79 MB an image.
        """
        blocked = None
        if independent:
            blocked = ~torch.eye(query_features.shape[1], dtype=torch.bool, device=query_features.device)
        class_logits, mask_logits = [], []
        for index in range(self.num_transformer_decoder_layers + 1):
            if index:
                level = (index - 1) % self.num_transformer_feat_level
                query_features = self.transformer_decoder.layers[index - 1](
                    query=query_features,
                    key=pyramid.memories[level],
                    value=pyramid.memories[level],
                    query_pos=query_positions,
                    key_pos=pyramid.positions[level],
                    self_attn_mask=blocked,
                    cross_attn_mask=self._attention_mask(mask_logits[-1], pyramid.sizes[level]),
                )
            normed = self.transformer_decoder.post_norm(query_features)
            if classify == "last":
                mask_logits.clear()
            mask_logits.append(torch.einsum("nqc,nchw->nqhw", self.mask_embed(normed), pyramid.mask_features))
            if classify == "all" or (classify == "last" and index == self.num_transformer_decoder_layers):
                class_logits.append(self._classify(normed, pyramid.mask_features, mask_logits[-1]))
        return Decoded(query_features, class_logits, mask_logits)

    def segment(self, pyramid: Pyramid, classify: Classify = "all") -> Decoded:
        """Decode the segmenter's own learnt queries; ``classify`` as in :meth:`decode`."""
        num_images = len(pyramid.mask_features)
        return self.decode(
            pyramid,
            self.query_feat.weight.expand(num_images, -1, -1),
            self.query_embed.weight.expand(num_images, -1, -1),
            classify=classify,
        )

    @torch.no_grad()
    def get_targets(
        self,
        cls_scores_list: Sequence[Tensor],
        mask_preds_list: Sequence[Tensor],
        batch_gt_instances: Sequence[InstanceData],
        batch_img_metas: Any = None,
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor], int]:
        """mmdet's targets of one decoder output, with the points and costs of all images computed at once.

        mmdet goes image by image, which at ten outputs costs more time than the decoder. Objects of other images are
        compared too and left unread: that is one matrix product more, and nothing that is kept.

        Args:
            cls_scores_list: (Q, C + 1) of each of N images.
            mask_preds_list: (Q, h, w) of each.
            batch_gt_instances: ``labels`` (M,) and ``masks`` (M, S, S) of each.
            batch_img_metas: not used.

        Returns:
            Of each image: labels (Q,) and their weights, masks (P, S, S) of the P queries that own an object, and weights
            (Q,) that are 1 for those; and the number of owners, where an image without any counts as one, as mmdet has it.
        """
        labels = torch.cat([truth.labels for truth in batch_gt_instances])
        counts = [len(truth) for truth in batch_gt_instances]
        scores, logits = torch.stack(list(cls_scores_list)), torch.stack(list(mask_preds_list))
        num_images, num_queries = scores.shape[:2]
        owners = torch.repeat_interleave(torch.tensor(counts, device=labels.device))
        points = torch.rand((num_images, self.num_points, 2), device=scores.device)
        masks = torch.cat([truth.masks for truth in batch_gt_instances])[:, None].float()
        candidates = InstanceData(scores=scores.flatten(0, 1), masks=point_sample(logits, points).flatten(0, 1))
        wanted = InstanceData(labels=labels, masks=point_sample(masks, points[owners])[:, 0])
        if self.anchored:
            candidates.anchors = grid_points(math.isqrt(num_queries), labels.device).repeat(num_images, 1)
            wanted.centres = mask_centres(masks[:, 0])
        if len(labels):
            cost = sum(match(candidates, wanted) for match in self.assigner.match_costs)
            costs = cost.view(num_images, num_queries, -1).cpu().split(counts, dim=2)
        classes, class_weights, targets, weights = [], [], [], []
        for image, truth in enumerate(batch_gt_instances):
            chosen = labels.new_full((num_queries,), self.num_classes)
            owned = logits.new_zeros(num_queries)
            matched = labels.new_zeros(0)
            if len(truth):
                rows, columns = linear_sum_assignment(costs[image][image])
                matched = torch.as_tensor(columns, device=labels.device)
                chosen[rows] = truth.labels[matched]
                owned[rows] = 1.0
            classes.append(chosen)
            class_weights.append(torch.ones_like(chosen))
            targets.append(truth.masks[matched])
            weights.append(owned)
        return classes, class_weights, targets, weights, sum(max(len(masks), 1) for masks in targets)

    def match(self, decoded: Decoded, truth: Sequence[InstanceData]) -> "Matched":
        """Give each object the query of the last output that costs least, as the losses do.

        Args:
            decoded: of :meth:`segment`.
            truth: ``labels`` (M,) and ``masks`` (M, S, S) of each image.
        """
        labels, _, masks, weights, _ = self.get_targets(decoded.class_logits[-1], decoded.mask_logits[-1], truth)
        owned = torch.stack(weights) > 0
        return Matched(owned, torch.cat(masks), torch.stack(labels)[owned])

    def prompted_losses(self, pyramid: Pyramid, decoded: Decoded, matched: "Matched") -> dict[str, Tensor]:
        """Decode the final queries that own an object once more, each alone, and ask for the same object.

        This is what becomes of a ``<seg>`` state that recovers an object's query.

        Args:
            pyramid: of N images.
            decoded: of :meth:`segment`.
            matched: of :meth:`match`.
        """
        features = decoded.query_features.detach()
        features = features + self.prompt_noise * torch.randn_like(features)
        prompts = torch.cat([features, self.query_embed.weight.expand_as(features)], -1)
        if self.prompt_mixup and len(matched.labels):
            mixed = _mix_within_classes(prompts[matched.owned], matched, self.prompt_mixup)
            prompts = prompts.index_put(matched.owned.nonzero(as_tuple=True), mixed)
        again = self.decode(pyramid, *prompts.chunk(2, -1), independent=True, classify="none")
        sampling = PointSampling(self.num_points, self.oversample_ratio, self.importance_sample_ratio)
        outputs = [logits[matched.owned] for logits in again.mask_logits[1:]]
        losses = point_losses(outputs, matched.masks, self.loss_mask, self.loss_dice, sampling)
        return {f"prompted.{name}": self.prompted * loss for name, loss in losses.items()}

    def forward(self, x: Sequence[Tensor], batch_data_samples: Any = None) -> tuple[list[Tensor], list[Tensor]]:
        """mmdet's interface: class and mask logits of every decoder output."""
        decoded = self.segment(self.encode(x))
        return decoded.class_logits, decoded.mask_logits

    def _positions(self, memory: Tensor) -> Tensor:
        """Position encoding (N, h * w, D) of (N, D, h, w) maps."""
        no_padding = memory.new_zeros((len(memory), *memory.shape[-2:]), dtype=torch.bool)
        if self.video_positions:
            encoded = self.decoder_positional_encoding(no_padding[:, None])[:, 0]
        else:
            encoded = self.decoder_positional_encoding(no_padding)
        return encoded.flatten(2).transpose(1, 2)

    def _classify(self, queries: Tensor, mask_features: Tensor, mask_logits: Tensor) -> Tensor:
        if isinstance(self.cls_embed, OpenVocabularyClassifier):
            return self.cls_embed(queries, mask_features, mask_logits)
        return self.cls_embed(queries)

    def _attention_mask(self, mask_logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Block memory cells outside of the predicted mask; a row that would be blocked as a whole sees everything."""
        resized = F.interpolate(mask_logits.detach().float(), size, mode="bilinear", align_corners=False)
        blocked = resized.flatten(2) < 0
        blocked &= ~blocked.all(-1, keepdim=True)
        return blocked.repeat_interleave(self.num_heads, dim=0)


def _mix_within_classes(prompts: Tensor, matched: Matched, most: float) -> Tensor:
    """Mix each of (M, E) prompts with that of a random object of its class in another image, where there is one.

    The share of the other is uniform in 0..most.
    """
    image = matched.owned.nonzero()[:, 0]
    candidates = (matched.labels[:, None] == matched.labels) & (image[:, None] != image)
    candidates |= torch.diag(~candidates.any(1))  # itself where there is none
    other = torch.multinomial(candidates.float(), 1)[:, 0]
    return torch.lerp(prompts, prompts[other], most * torch.rand_like(prompts[:, :1]))
