"""From the hidden state of a ``<seg>`` to a mask: a one-query Mask2Former decoder, and its losses.

Shape letters: K ``<seg>`` states, N images, H width of the LLM, D query channels, h x w mask feature map, S target side.
"""

from collections.abc import Callable, Collection
from copy import deepcopy
from typing import Literal, get_args

from mmengine.config import ConfigDict
from torch import Tensor, nn

from lira_plugin.models.pixel_encoder.mask2former import DecoderMemory, Mask2FormerDecoder
from lira_plugin.models.pixel_encoder.segmenter import Mask2FormerSegmenter
from lira_plugin.models.point_losses import PointSampling, point_losses
from lira_plugin.registry import MODELS

DecoderKind = Literal["shared", "own"]
RunDecoder = Callable[[Mask2FormerDecoder, DecoderMemory, Tensor, Tensor], list[Tensor]]
"""Runs a decoder as :func:`decode_alone` does."""


@MODELS.register_module()
class MaskDecoder(nn.Module):
    """Turns ``<seg>`` states into queries of a Mask2Former decoder (``mask2former_vid_semanticsam.py:320-591``).

    Args:
        hidden_size: H.
        query_channels: D.
        decoder: whose weights decode. ``shared`` takes those of the segmenter, as the paper does; then only the projection of the
            states belongs to this module. ``own`` trains a copy, as X-SAM and PSALM do and as ``require_omg_decoder`` of the
            reference would: :meth:`copy_decoder` makes it, and its weights are ``decoder.*`` of this module.
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
        decoder: DecoderKind = "shared",
        loss_mask: dict | None = None,
        loss_dice: dict | None = None,
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
    ) -> None:
        super().__init__()
        if decoder not in get_args(DecoderKind):
            raise ValueError(f"MaskDecoder(decoder=...) must be one of {list(get_args(DecoderKind))}, got {decoder!r}")
        self.has_own_decoder = decoder == "own"
        self.decoder: Mask2FormerDecoder | None = None
        self.run_decoder: RunDecoder = decode_alone
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

    def copy_decoder(self, segmenter: Mask2FormerSegmenter) -> None:
        """Let an own decoder start from the weights of ``segmenter``, trained even if those are frozen; do nothing if shared."""
        if self.has_own_decoder:
            self.decoder = deepcopy(segmenter.decoder).requires_grad_(True)

    def has_own_weights(self, loaded: Collection[str]) -> bool:
        """Whether an own decoder has got all of its weights.

        Args:
            loaded: names of this module's tensors that files have given.

        Raises:
            ValueError: files gave some of the decoder's weights and not the others.
        """
        own = set() if self.decoder is None else {f"decoder.{name}" for name in self.decoder.state_dict()}
        given, missing = own & set(loaded), sorted(own - set(loaded))
        if given and missing:
            raise ValueError(
                f"init_from gives {len(given)} tensors of mask_decoder.decoder, and {len(missing)} are missing: "
                f"{', '.join(missing[:4])}; take a checkpoint that has all of them, or leave them out with "
                "ignore=['mask_decoder.decoder']"
            )
        return bool(given)

    def check_is_trained(self, by_masks: bool, by_others: bool) -> None:
        """Refuse trained weights that no loss would reach: data parallelism fails on weights without a gradient.

        Args:
            by_masks: whether mask losses run, the only ones that run the decoder.
            by_others: whether other losses run, which may use the projection of states.

        Raises:
            ValueError: no loss reaches weights that are not frozen.
        """
        if not (by_masks or by_others) and any(p.requires_grad for p in self.state_proj.parameters()):
            raise ValueError(
                "no loss trains mask_decoder: give loss_weights a positive 'masks' or 'projection', or add 'mask_decoder' "
                "to frozen"
            )
        if not by_masks and self.decoder is not None and any(p.requires_grad for p in self.decoder.parameters()):
            raise ValueError(
                "mask_decoder.decoder='own' is trained by the mask losses alone, but loss_weights['masks'] is 0: take 'shared' "
                "in this stage, and 'own' in the one that decodes masks"
            )

    def forward(
        self, states: Tensor, state_image: Tensor, decoder_memory: DecoderMemory, segmenter: Mask2FormerSegmenter
    ) -> list[Tensor]:
        """Decode each state by itself.

        Queries of one image share its memories: they stand side by side with the self-attention between them cut,
        so no feature is copied a query and the result is that of K decoders with one query each.

        Args:
            states: (K, H).
            state_image: (K,) image of each state.
            decoder_memory: of N images.
            segmenter: whose decoder is used if it is shared.

        Returns:
            Mask logits (K, h, w) of every decoder output, the last one being the result.

        Raises:
            RuntimeError: the own decoder has no weights yet.
        """
        if self.has_own_decoder and self.decoder is None:
            raise RuntimeError("MaskDecoder(decoder='own') has no decoder yet: call copy_decoder(segmenter) first")
        decoder = self.decoder if self.has_own_decoder else segmenter.decoder
        images, owner_in_use = state_image.unique(return_inverse=True)
        if 0 < len(images) < len(decoder_memory.mask_features):
            decoder_memory, state_image = decoder_memory.of(images), owner_in_use
        slots, num_slots = _slot_in_image(state_image)
        queries = states.new_zeros(len(decoder_memory.mask_features), num_slots, self.state_proj[-1].out_features)
        queries = queries.to(decoder_memory.mask_features.dtype)
        queries = queries.index_put((state_image, slots), self.project(states).to(queries.dtype))
        features, positions = queries.chunk(2, -1)
        outputs = self.run_decoder(decoder, decoder_memory, features, positions)
        return [logits[state_image, slots] for logits in outputs]

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


def decode_alone(
    decoder: Mask2FormerDecoder, memory: DecoderMemory, features: Tensor, positions: Tensor
) -> list[Tensor]:
    """Mask logits (N, Q, h, w) of every output for (N, Q, D) queries, each decoded as if it were alone."""
    return decoder(memory, features, positions, independent=True).mask_logits


def _slot_in_image(state_image: Tensor) -> tuple[Tensor, int]:
    """Number the states of each image 0, 1, ...; return the numbers and how many the fullest image has."""
    same = state_image[:, None] == state_image[None, :]
    slots = same.tril(-1).sum(-1)
    return slots, int(slots.max()) + 1 if len(slots) else 1
