"""The Mask2Former segmenter, whose decoder serves both its own queries and those of ``<seg>`` tokens.

Shape letters: N images, Q queries, M objects, D feature channels, C classes, h x w mask feature map, S target side.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmcv.ops import MultiScaleDeformableAttention, point_sample
from mmdet.models import Mask2FormerHead
from mmdet.models.layers import MSDeformAttnPixelDecoder, SinePositionalEncoding3D
from mmengine.structures import InstanceData
from torch import Tensor, nn

from lira_plugin.models.pixel_encoder.deformable_attention import DeformableAttention
from lira_plugin.models.pixel_encoder.mask2former import DecoderMemory, Mask2FormerDecoder
from lira_plugin.models.pixel_encoder.mmdet_names import mmdet_names, with_own_parts
from lira_plugin.models.pixel_encoder.sized_pixel_decoder import SizedPixelDecoder
from lira_plugin.registry import MODELS


class Segmented(NamedTuple):
    """What the segmenter's queries found. Its decoder has an output before its first layer and one after each layer."""

    query_features: Tensor
    """(N, Q, D) after the last layer."""
    class_logits: list[Tensor]
    """One (N, Q, C + 1) an output, no object last."""
    mask_logits: list[Tensor]
    """One (N, Q, h, w) an output."""


@MODELS.register_module()
class Mask2FormerSegmenter(Mask2FormerHead):
    """mmdet's Mask2Former head, with its forward pass cut into parts that others can call.

    Takes the arguments of :class:`mmdet.models.Mask2FormerHead`, as mmdet's configs have them: dictionaries may be plain, and a
    bare name that the default scope does not know is mmdet's.

    Args:
        classifier: config of a module that classifies the queries instead of mmdet's linear layer, such as
            :class:`~lira_plugin.models.pixel_encoder.open_vocabulary.OpenVocabularyClassifier`. It is built with
            ``channels`` (D) and has ``num_classes`` (C). It gives class logits (N, Q, C + 1), no object last, for queries
            (N, Q, D), mask features (N, D, h, w) and mask logits (N, Q, h, w).
        video_positions: encode positions as in a video of one frame, which adds a constant vector to the encoding of an image;
            OMG-Seg was trained so.

    Raises:
        ValueError: the classifier has another number of classes than the segmenter.
    """

    def __init__(
        self, *args: Any, classifier: dict | None = None, video_positions: bool = False, **kwargs: Any
    ) -> None:
        kwargs = with_own_parts(kwargs)
        with mmdet_names():
            super().__init__(*args, **kwargs)
        if type(self.pixel_decoder) is MSDeformAttnPixelDecoder:
            self.pixel_decoder.__class__ = SizedPixelDecoder
        for module in self.pixel_decoder.modules():
            if isinstance(module, MultiScaleDeformableAttention):
                module.__class__ = DeformableAttention  # mmdet's layers make mmcv's, whatever their config says
        self.video_positions = video_positions
        if video_positions:
            encoding = self.decoder_positional_encoding
            self.decoder_positional_encoding = SinePositionalEncoding3D(
                encoding.num_feats, normalize=encoding.normalize
            )
        if classifier is not None:
            self.cls_embed = MODELS.build({**classifier, "channels": self.cls_embed.in_features})
            if self.cls_embed.num_classes != self.num_classes:
                raise ValueError(
                    f"the segmenter's classifier, {type(self.cls_embed).__name__}, has {self.cls_embed.num_classes} classes, "
                    f"but num_things_classes and num_stuff_classes make {self.num_classes}: give both the same count"
                )

    @property
    def decoder(self) -> Mask2FormerDecoder:
        """The decoder made of this segmenter's own weights, without its queries and its classifier."""
        return Mask2FormerDecoder(self.transformer_decoder, self.mask_embed)

    def encode(self, features: Sequence[Tensor]) -> DecoderMemory:
        """Run the pixel decoder over backbone ``features``, each (N, C_i, h_i, w_i)."""
        mask_features, maps = self.pixel_decoder(list(features))
        memories, positions, sizes = [], [], []
        for level in range(self.num_transformer_feat_level):
            memory = self.decoder_input_projs[level](maps[level])
            positions.append(self.encode_positions(memory[:1]))
            sizes.append(tuple(memory.shape[-2:]))
            memories.append(memory.flatten(2).transpose(1, 2) + self.level_embed.weight[level])
        return DecoderMemory(mask_features, tuple(memories), tuple(positions), tuple(sizes))

    def segment(self, decoder_memory: DecoderMemory, last_only: bool = False) -> Segmented:
        """Decode the segmenter's own learnt queries; ``last_only`` keeps the last output alone."""
        num_images = len(decoder_memory.mask_features)
        decoded = self.decoder(
            decoder_memory,
            self.query_feat.weight.expand(num_images, -1, -1),
            self.query_embed.weight.expand(num_images, -1, -1),
            last_only=last_only,
        )
        class_logits = [
            self._classify(queries, decoder_memory.mask_features, masks)
            for queries, masks in zip(decoded.normed_queries, decoded.mask_logits, strict=True)
        ]
        return Segmented(decoded.query_features, class_logits, decoded.mask_logits)

    def instance_losses(
        self, decoder_memory: DecoderMemory, segmented: Segmented, truth: Sequence[InstanceData]
    ) -> dict[str, Tensor]:
        """Mask2Former's losses of all outputs. Subclasses add theirs.

        Args:
            decoder_memory: of N images.
            segmented: what :meth:`segment` made of it.
            truth: ``labels`` (M,) and ``masks`` (M, S, S) of each image.
        """
        return self.loss_by_feat(segmented.class_logits, segmented.mask_logits, truth, [{}] * len(truth))

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
            (Q,) that are 1 for those; and the count of owners, where an image without any counts as one, as mmdet has it.
        """
        from scipy.optimize import linear_sum_assignment  # for training alone, and slow to import

        labels = torch.cat([truth.labels for truth in batch_gt_instances])
        counts = [len(truth) for truth in batch_gt_instances]
        scores, logits = torch.stack(list(cls_scores_list)), torch.stack(list(mask_preds_list))
        num_images, num_queries = scores.shape[:2]
        object_image = torch.repeat_interleave(torch.tensor(counts, device=labels.device))
        points = torch.rand((num_images, self.num_points, 2), device=scores.device)
        masks = torch.cat([truth.masks for truth in batch_gt_instances])[:, None].float()
        queries = InstanceData(scores=scores.flatten(0, 1), masks=point_sample(logits, points).flatten(0, 1))
        objects = InstanceData(labels=labels, masks=point_sample(masks, points[object_image])[:, 0])
        self.prepare_matching(queries, objects, masks[:, 0])
        if len(labels):
            cost = sum(match(queries, objects) for match in self.assigner.match_costs)
            costs = cost.view(num_images, num_queries, -1).cpu().split(counts, dim=2)
        classes, class_weights, targets, weights = [], [], [], []
        for image, truth in enumerate(batch_gt_instances):
            assigned = labels.new_full((num_queries,), self.num_classes)
            owned = logits.new_zeros(num_queries)
            matched = labels.new_zeros(0)
            if len(truth):
                owners, owned_objects = linear_sum_assignment(costs[image][image])
                matched = torch.as_tensor(owned_objects, device=labels.device)
                assigned[owners] = truth.labels[matched]
                owned[owners] = 1.0
            classes.append(assigned)
            class_weights.append(torch.ones_like(assigned))
            targets.append(truth.masks[matched])
            weights.append(owned)
        return classes, class_weights, targets, weights, sum(max(len(masks), 1) for masks in targets)

    def prepare_matching(self, queries: InstanceData, objects: InstanceData, masks: Tensor) -> None:
        """Give queries and objects what further match costs compare. Here that is nothing; subclasses override it.

        Args:
            queries: ``scores`` (N * Q, C + 1) and ``masks`` (N * Q, points) of all images, one image after the other.
            objects: ``labels`` (M,) and ``masks`` (M, points) of all images.
            masks: (M, S, S) of the objects, whole.
        """

    def forward(self, x: Sequence[Tensor], batch_data_samples: Any = None) -> tuple[list[Tensor], list[Tensor]]:
        """mmdet's interface: class and mask logits of every decoder output."""
        segmented = self.segment(self.encode(x))
        return segmented.class_logits, segmented.mask_logits

    def encode_positions(self, maps: Tensor) -> Tensor:
        """Position encodings (N, h * w, D) of the cells of (N, D, h, w) maps, whose values do not matter."""
        no_padding = maps.new_zeros((len(maps), *maps.shape[-2:]), dtype=torch.bool)
        if self.video_positions:
            encoded = self.decoder_positional_encoding(no_padding[:, None])[:, 0]
        else:
            encoded = self.decoder_positional_encoding(no_padding)
        return encoded.flatten(2).transpose(1, 2)

    def _classify(self, queries: Tensor, mask_features: Tensor, mask_logits: Tensor) -> Tensor:
        if isinstance(self.cls_embed, nn.Linear):  # mmdet's
            return self.cls_embed(queries)
        return self.cls_embed(queries, mask_features, mask_logits)
