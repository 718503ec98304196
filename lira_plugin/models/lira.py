"""LIRA: encode, fuse, read with the LLM, decode masks.

::

    images ──▶ pixel encoder ──┬──▶ SEFE ──▶ tokens ──▶ LLM ──▶ hidden states at <seg> ──▶ mask decoder ──▶ masks
    tiles ──▶ semantic encoder ┘                         ▲                                     ▲
    views ──▶ semantic encoder ──────────────────────────┘     decoder memory of the pixel encoder

Shape letters: B samples, L positions, N images, T tiles, R views, K ``<seg>`` states, H width of the LLM.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from torch import Tensor, nn

from lira_plugin.checkpoint.files import is_meta_init, load_into
from lira_plugin.compat.xtuner_convert import NO_HF
from lira_plugin.distributed import is_sharded, mean_count
from lira_plugin.models.answering import make_generator, make_requests
from lira_plugin.models.deep_stack import check_levels
from lira_plugin.models.extra_losses import SegLossInputs
from lira_plugin.models.generation import InterleavedGenerator, Request
from lira_plugin.models.interleaved_llm import InterleavedLLM, LLMOutput, scatter_features
from lira_plugin.models.lira_input_spec import input_spec_of
from lira_plugin.models.mask_decoder import MaskDecoder
from lira_plugin.models.partly_frozen import PartlyFrozenModel
from lira_plugin.models.pixel_encoder.pixel_encoder import PixelEncoder, PixelFeatures
from lira_plugin.models.sefe import SEFE
from lira_plugin.models.semantic_encoder.base import SemanticEncoder
from lira_plugin.models.semantic_encoder.feature_cache import FeatureCache
from lira_plugin.models.visual_blocks import (
    EncodedImages,
    features_by_kind,
    image_inputs,
    split_for_memory,
    supervised_segs,
    visible_positions,
)
from lira_plugin.precision import autocast_to_weights
from lira_plugin.registry import MODELS
from lira_plugin.settings import refuse_keywords, refuse_type, refuse_unknown
from lira_plugin.structures import GroundedText, GroundingBatch, GroundingSample, InputSpec
from lira_plugin.tokens import load_tokenizer, vocabulary_rows


class Encoded(NamedTuple):
    """A batch in front of the LLM."""

    features: PixelFeatures
    embeddings: Tensor
    """(B, L, H)."""
    attention_mask: Tensor
    """(B, L) bool, unused object tokens cleared."""


@MODELS.register_module()
class LIRA(PartlyFrozenModel):
    """Large multimodal model that segments what it talks about (arXiv 2507.06272).

    Args:
        tokenizer: a Hugging Face tokenizer or its config.
        semantic_encoder: config of a :class:`SemanticEncoder`. With ``feature_cache``, the arguments of
            :class:`FeatureCache` without the encoder, training keeps on disk what the frozen encoder gives for tiles of images.
        pixel_encoder, sefe, llm, mask_decoder: configs of the other parts. ``lora`` of the LLM holds the arguments of
            :meth:`InterleavedLLM.add_lora`.
        special_tokens: spelling (:class:`~lira_plugin.tokens.SpecialTokens` or its arguments).
        frozen: parts, or dotted names of modules inside of them, that are not trained: ``("pixel_encoder", "llm")``.
        init_from: weights of earlier stages, each the arguments of :func:`~lira_plugin.checkpoint.files.load_into`. They are
            loaded before LoRA is added, so their files hold no adapters. A checkpoint with adapters goes into the runner's
            ``load_from``.
        loss_weights: of ``llm``, ``masks`` and ``projection``. 0 leaves the mask or projection losses out; the language loss is
            computed all the same, and multiplied by 0.
        extra_losses: configs of further losses on ``<seg>`` states; see :class:`~lira_plugin.models.extra_losses.SegLossInputs`.
        generation: settings of :meth:`generator`: those of :class:`~lira_plugin.models.generation.Decoding`, ``batch_size``
            (answers written at the same time) and ``end_token`` (the text that ends an answer).
    """

    def __init__(
        self,
        tokenizer: Any,
        semantic_encoder: dict,
        pixel_encoder: dict,
        sefe: dict,
        llm: dict,
        mask_decoder: dict,
        special_tokens: Any = None,
        frozen: Sequence[str] = (),
        init_from: Sequence[dict] = (),
        loss_weights: Mapping[str, float] | None = None,
        extra_losses: Sequence[dict] = (),
        generation: dict | None = None,
    ) -> None:
        super().__init__()
        self.tokenizer, self.ids, first_new = load_tokenizer(tokenizer, special_tokens)
        semantic_encoder, llm = dict(semantic_encoder), dict(llm)
        feature_cache, lora = semantic_encoder.pop("feature_cache", None), llm.pop("lora", None)
        self.semantic_encoder: SemanticEncoder = MODELS.build(semantic_encoder)
        self.pixel_encoder: PixelEncoder = MODELS.build(pixel_encoder)
        self.sefe: SEFE = MODELS.build(sefe)
        llm |= {"vocabulary_size": vocabulary_rows(self.tokenizer), "first_new_token": first_new}
        self.llm: InterleavedLLM = MODELS.build(llm)
        check_levels(self.semantic_encoder, self.llm)
        self.mask_decoder: MaskDecoder = MODELS.build(mask_decoder)
        self.mask_decoder.copy_decoder(self.pixel_encoder.segmenter)  # so that earlier stages find names to load into
        self.extra_losses = nn.ModuleList(MODELS.build(loss) for loss in extra_losses)
        self.loss_weights = {"llm": 1.0, "masks": 1.0, "projection": 0.0}
        refuse_unknown(loss_weights or (), self.loss_weights, "loss_weights")
        self.loss_weights |= loss_weights or {}
        for name, weight in self.loss_weights.items():
            refuse_type(f"loss_weights.{name}", weight, float)
        self.generation = dict(generation or {})
        refuse_keywords(load_into, init_from, "init_from")
        loaded = {name for stage in init_from for name in load_into(self, **stage)}
        if not self.mask_decoder.has_own_weights([name.removeprefix("mask_decoder.") for name in loaded]):
            self.mask_decoder.copy_decoder(self.pixel_encoder.segmenter)  # whose weights are loaded now
        if lora:  # only now: earlier stages have no adapters, and the adapters go around what they learnt
            self.llm.add_lora(lora)
        self.freeze_parts(frozen)
        self.mask_decoder.check_is_trained(
            by_masks=self.loss_weights["masks"] > 0,
            by_others=self.loss_weights["projection"] > 0 or len(self.extra_losses) > 0,
        )
        refuse_keywords(FeatureCache, [feature_cache] if feature_cache else (), "feature_cache")
        self.feature_cache = FeatureCache(self.semantic_encoder, **feature_cache) if feature_cache else None
        if not is_meta_init():  # without weights (tools/describe.py) the tokenizer may be a stand-in
            self.generator()  # so that a wrong setting is an error now, not after the training

    @property
    def input_spec(self) -> InputSpec:
        """What the data take from this model, so that both agree."""
        return input_spec_of(self)

    def forward(
        self, batch: GroundingBatch, data_samples: Sequence[GroundingSample] | None = None, mode: str = "tensor"
    ) -> dict[str, Tensor] | list[GroundedText] | LLMOutput:
        """MMEngine's entry point.

        Args:
            batch: see :class:`GroundingBatch`.
            data_samples: the samples of the batch; needed for ``predict``, and for names in messages.
            mode: ``loss`` gives a dictionary of losses, ``predict`` one :class:`GroundedText` a sample, ``tensor`` the
                hidden states.
        """
        if mode == "predict" and data_samples is None:
            raise ValueError("mode='predict' needs data_samples: views are cut from their original images")
        if mode == "predict":
            return self.predict(batch, data_samples)
        with autocast_to_weights(self):
            if mode == "loss":
                return self.loss(batch, data_samples)
            if mode == "tensor":
                encoded = self.encode(batch, data_samples)
                return self.llm(encoded.embeddings, encoded.attention_mask)
        raise ValueError(f"mode must be 'loss', 'predict' or 'tensor', got {mode!r}")

    def loss(self, batch: GroundingBatch, data_samples: Sequence[GroundingSample] | None = None) -> dict[str, Tensor]:
        """Language, mask, extra and projection losses, and counts for the log.

        ``seg/skipped`` are the regions that truncation dropped or whose mask has no pixel, ``text/cut`` the answers that
        truncation cut.
        """
        encoded = self.encode(batch, data_samples)
        output = self.llm(encoded.embeddings, encoded.attention_mask, batch.labels)
        losses = {"loss_llm": output.loss * self.loss_weights["llm"]}
        if self.loss_weights["masks"] or len(self.extra_losses):
            states, state_image = supervised_segs(batch, output.hidden, self.ids.seg, data_samples)
            masks = batch.masks[batch.seg_mask_index]
            inputs = SegLossInputs(states, state_image, encoded.features, masks, self.mask_decoder)
            if self.loss_weights["masks"]:
                losses |= self._mask_losses(inputs)
            for extra_loss in self.extra_losses:
                own = extra_loss(inputs)
                if taken := own.keys() & losses.keys():
                    raise ValueError(
                        f"{type(extra_loss).__name__} gives {sorted(taken)}, which another loss gave: rename them"
                    )
                losses |= own
        if self.loss_weights["projection"]:
            losses["loss_projection"] = self._projection_loss(encoded.features, len(batch.pixel_images))
        skipped = batch.dropped_regions.sum() + batch.empty_regions.sum()
        return losses | {"seg/skipped": skipped.float(), "text/cut": batch.cut_answers.sum().float()}

    def predict(self, batch: GroundingBatch, data_samples: Sequence[GroundingSample]) -> list[GroundedText]:
        """Run Algorithm 1; the sequences of the batch are prompts.

        Raises:
            RuntimeError: the weights are sharded over processes, which would each need all others at every pass.
        """
        if get_world_size() > 1 and is_sharded(self):
            raise RuntimeError(
                "no process can answer while the weights are sharded (FSDP or ZeRO-3): each has passes of its own, and each pass "
                "would wait for all processes; train without validation, or under ZeRO-2, and test a checkpoint with xtuner test "
                "(docs/troubleshooting.md#sharded-weights-cannot-answer)"
            )
        return self.generator()(self.requests(batch, data_samples))

    def requests(
        self,
        batch: GroundingBatch,
        data_samples: Sequence[GroundingSample],
        encode: Callable[[GroundingBatch], EncodedImages] | None = None,
    ) -> Iterator[Request]:
        """Encode prompts for :meth:`generator`; see :func:`~lira_plugin.models.answering.make_requests`."""
        return make_requests(self, batch, data_samples, encode)

    def generator(self, **settings: Any) -> InterleavedGenerator:
        """Algorithm 1 with this model; ``settings`` replace those of ``generation``.

        See :func:`~lira_plugin.models.answering.make_generator` for what can be set.
        """
        return make_generator(self, **{**self.generation, **settings})

    def encode(self, batch: GroundingBatch, data_samples: Sequence[GroundingSample] | None = None) -> Encoded:
        """Encode the images, fuse, and put the features into their positions."""
        names = [sample.name for sample in data_samples or ()] or [f"sample {i}" for i in range(len(batch.input_ids))]
        images = self.encode_images(batch)
        return Encoded(images.features, self.embed_sequence(batch, images, names), visible_positions(batch, images))

    def encode_images(self, batch: GroundingBatch) -> EncodedImages:
        """Encode images, tiles and views, and fuse."""
        inputs = image_inputs(batch, read_tiles=self.sefe.enrich is not None)
        features = PixelFeatures.joined([self.pixel_encoder.encode(p) for p in split_for_memory(inputs.pixel_images)])
        if self.feature_cache and self.training:
            semantic = self.feature_cache(inputs.tiles, inputs.views)
        else:
            parts = split_for_memory(torch.cat([inputs.tiles, inputs.views]))
            semantic = torch.cat([self.semantic_encoder(part) for part in parts])
        of_tiles, of_views = semantic[: len(inputs.tiles)], semantic[len(inputs.tiles) :]
        return EncodedImages(features, self.sefe(features, of_tiles, inputs.tile_image), inputs.tile_image, of_views)

    def embed_sequence(self, batch: GroundingBatch, images: EncodedImages, names: Sequence[str]) -> Tensor:
        """Embed the text, and put the features of images and views into their positions: (B, L, H)."""
        embeddings = self.llm.embed(batch.input_ids)
        features = features_by_kind(batch, images, self.sefe)
        if not len(batch.pixel_images):  # text only: the trained branches run all the same, on every process
            return embeddings + 0 * sum(feature.sum() for feature in features.values())
        return scatter_features(embeddings, batch.kinds, features, names)

    def _mask_losses(self, inputs: SegLossInputs) -> dict[str, Tensor]:
        memory, segmenter = inputs.features.decoder_memory, self.pixel_encoder.segmenter
        logits = self.mask_decoder(inputs.states, inputs.state_image, memory, segmenter)
        losses = self.mask_decoder.loss(logits, inputs.masks)
        return {name: loss * self.loss_weights["masks"] for name, loss in losses.items()}

    def _projection_loss(self, features: PixelFeatures, num_images: int) -> Tensor:
        """An object token, read as a ``<seg>`` state, is to give its query back (``omg_llava/model/lira.py:1080-1109``).

        The blank image that a batch of text is run with teaches nothing: without images this is an exact zero that the
        projections are still part of.
        """
        recovered = self.mask_decoder.project(self.sefe.project_objects(features.objects))[:num_images]
        squares = F.mse_loss(recovered.float(), features.objects[:num_images].float(), reduction="sum")
        count = mean_count(num_images, squares.device) * recovered.shape[1:].numel()
        return self.loss_weights["projection"] * squares / count

    def to_hf(self, *args: Any, **kwargs: Any) -> None:
        """Refuse ``xtuner convert pth_to_hf``, which knows models of a vision tower and an LLM alone.

        Raises:
            NotImplementedError: always; the message has the command that does it.
        """
        raise NotImplementedError(NO_HF)
