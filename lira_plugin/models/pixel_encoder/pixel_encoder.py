"""The pixel encoder: backbone, pixel decoder and segmenter, and the perception prior made of them.

Shape letters: N images, S image side, P pixel tokens (g x g), Q object queries, D query channels, C classes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models import Mask2FormerHead
from mmengine.structures import InstanceData
from torch import Tensor, nn

from lira_plugin.checkpoint.files import check_before_load
from lira_plugin.distributed import LoggedModel
from lira_plugin.models.pixel_encoder.mask2former import DecoderMemory
from lira_plugin.models.pixel_encoder.mmdet_names import mmdet_names, with_own_parts
from lira_plugin.models.pixel_encoder.perception_prior import perception_prior, used_queries
from lira_plugin.models.pixel_encoder.segmenter import Mask2FormerSegmenter, Segmented
from lira_plugin.models.space_to_depth import space_to_depth
from lira_plugin.precision import autocast_to_weights
from lira_plugin.registry import MODELS
from lira_plugin.structures import GroundingBatch, InputSpec


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
    decoder_memory: DecoderMemory
    """Memories and mask features, for the mask decoder."""

    @classmethod
    def joined(cls, parts: "Sequence[PixelFeatures]") -> "PixelFeatures":
        """The features of the images of all parts, in order; of a single part themselves."""
        if len(parts) == 1:
            return parts[0]
        *tensors, decoder_memories = zip(*parts)
        return cls(*map(torch.cat, tensors), DecoderMemory.joined(decoder_memories))


@MODELS.register_module()
class PixelEncoder(LoggedModel):
    """Backbone and segmenter; trains alone on instances, and gives :class:`PixelFeatures` to LIRA.

    As a model of its own (the segmenter stage) it learns COCO instances with Mask2Former's losses.

    Args:
        backbone: config of a network that returns feature maps of strides 4, 8, 16, 32 (timm ``features_only``).
            Bare names are mmdet's where the default scope does not know them, such as ``SwinTransformer``.
        segmenter: config of :class:`~lira_plugin.models.pixel_encoder.segmenter.Mask2FormerSegmenter`, or of mmdet's
            ``Mask2FormerHead``, which is then built as one.
        unshuffle: ratio of the space-to-depth step that makes pixel tokens of the last feature map.
        mean, std: normalisation of values in 0..1.
        image_size: S of the recipe, which the data take from here; None leaves it to them, for the encoder takes any that fits.

    Raises:
        ValueError: the image size is no multiple of the pixels along a pixel token, or the segmenter is of another kind.
    """

    def __init__(
        self,
        backbone: dict,
        segmenter: dict,
        unshuffle: int = 2,
        mean: tuple[float, ...] = (0.4814, 0.4578, 0.4082),
        std: tuple[float, ...] = (0.2686, 0.2613, 0.2757),
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        backbone = with_own_parts(backbone)
        with mmdet_names():
            self.backbone: nn.Module = MODELS.build(backbone)
        self.segmenter = _build_segmenter(segmenter)
        self.segmenter.init_weights()
        self.unshuffle, self.image_size = unshuffle, image_size
        if image_size and self.pixel_cell and image_size % self.pixel_cell:
            raise ValueError(
                f"image_size={image_size} must be a multiple of {self.pixel_cell}, the pixels along a pixel token"
            )
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.register_load_state_dict_pre_hook(check_before_load)

    @property
    def pixel_cell(self) -> int | None:
        """Side of the square of the image that becomes a pixel token, in pixels; None where nobody says it.

        The backbone says the stride of its last map if it is timm's; else the pixel decoder, which was told it.
        """
        maps = getattr(self.backbone, "feature_info", None)
        strides = getattr(self.segmenter.pixel_decoder, "strides", None) if maps is None else maps.reduction()
        return strides[-1] * self.unshuffle if strides else None

    @property
    def input_spec(self) -> InputSpec:
        """What the data of the segmenter stage take from here."""
        settings = {"image_size": "model.image_size", "pixel_cell": "model"}
        return InputSpec(image_size=self.image_size, pixel_cell=self.pixel_cell, settings=settings)

    def encode(self, images: Tensor) -> PixelFeatures:
        """Encode (N, 3, S, S) uint8 images."""
        decoder_memory, segmented, last = self._segment(images, last_only=True)
        grid = (last.shape[-2] // self.unshuffle, last.shape[-1] // self.unshuffle)
        prior = perception_prior(segmented.class_logits[-1], segmented.mask_logits[-1], images.shape[-2:], grid)
        positions = self.segmenter.query_embed.weight.expand_as(segmented.query_features)
        objects = torch.cat([segmented.query_features, positions], -1)
        # softmax over the queries, times the queries: almost flat, since the prior is in 0..1
        perceived = prior.softmax(1).flatten(2).transpose(1, 2) @ objects
        return PixelFeatures(
            pixels=torch.cat([space_to_depth(last.permute(0, 2, 3, 1), self.unshuffle).flatten(1, 2), perceived], -1),
            objects=objects,
            object_valid=used_queries(prior),
            object_masks=segmented.mask_logits[-1] > 0,
            decoder_memory=decoder_memory,
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
        decoder_memory, segmented, _ = self._segment(batch.pixel_images)
        if mode == "predict":
            return self._instances(segmented, batch.pixel_images.shape[-2:])
        if mode != "loss":
            raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")
        truth = [
            InstanceData(labels=batch.mask_labels[owned], masks=batch.masks[owned].float())
            for owned in (batch.mask_image == image for image in range(len(batch.pixel_images)))
        ]
        return self.segmenter.instance_losses(decoder_memory, segmented, truth)

    def _segment(self, images: Tensor, last_only: bool = False) -> tuple[DecoderMemory, Segmented, Tensor]:
        maps = self.backbone((images.to(self.mean.dtype) / 255 - self.mean) / self.std)
        decoder_memory = self.segmenter.encode(maps)
        return decoder_memory, self.segmenter.segment(decoder_memory, last_only), maps[-1]

    @staticmethod
    def _instances(segmented: Segmented, size: tuple[int, int]) -> list[InstanceData]:
        scores, labels = segmented.class_logits[-1].softmax(-1)[..., :-1].max(-1)
        return [
            InstanceData(scores=score, labels=label, masks=_enlarged(logits, size) > 0)
            for score, label, logits in zip(scores, labels, segmented.mask_logits[-1])
        ]


def _build_segmenter(config: dict) -> Mask2FormerSegmenter:
    made = config.get("type")
    if made is Mask2FormerHead or (isinstance(made, str) and made.rpartition(".")[2] == Mask2FormerHead.__name__):
        config = {**config, "type": Mask2FormerSegmenter}
    segmenter = MODELS.build(config)
    if not isinstance(segmenter, Mask2FormerSegmenter):
        raise ValueError(
            "the segmenter of a PixelEncoder is a Mask2FormerSegmenter or mmdet's Mask2FormerHead, got "
            f"{type(segmenter).__name__}"
        )
    return segmenter


def _enlarged(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """(Q, h, w) to (Q, *size), bilinear: of one image, for those of a batch would take gigabytes."""
    return F.interpolate(logits[None], size, mode="bilinear", align_corners=False)[0]
