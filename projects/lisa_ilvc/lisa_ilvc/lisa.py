"""LISA (arXiv 2308.00692) with ILVC: an LLM that reads an image in a few tokens, and SAM for the masks of its ``<seg>`` states.

Shape letters: B samples, L positions, N images, C channels, g side of SAM's grid, T tiles, R views, U tokens a tile, K states of
``<seg>``, H width of the LLM.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lira_plugin.checkpoint.files import load_into
from lira_plugin.models.answering import LIRAGrounder, make_generator, prompt_requests
from lira_plugin.models.generation import InterleavedGenerator, Request
from lira_plugin.models.interleaved_llm import scatter_features
from lira_plugin.models.lira_input_spec import language_settings
from lira_plugin.models.partly_frozen import PartlyFrozenModel
from lira_plugin.models.point_losses import PointSampling, point_losses
from lira_plugin.models.visual_blocks import (
    image_inputs,
    image_of_sample,
    slice_batch,
    split_for_memory,
    supervised_segs,
)
from lira_plugin.precision import autocast_to_weights
from lira_plugin.registry import MODELS
from lira_plugin.structures import GroundedText, GroundingBatch, GroundingSample, InputSpec, TokenKind
from lira_plugin.structures.input_spec import LIRA_SETTINGS
from lira_plugin.tokens import load_tokenizer, vocabulary_rows


class EncodedImages(NamedTuple):
    """What the encoders make of a batch."""

    embeddings: Tensor  # (N, C, g, g) of SAM
    tokens: Tensor  # (T, U, H)
    tile_image: Tensor  # (T,) image of each tile
    views: Tensor  # (R, U, H)


class SamGrounder(LIRAGrounder):
    """Masks from SAM; views are cut and encoded as in LIRA. An image is named by its (C, g, g) embedding."""

    def decode_masks(self, states: Tensor, features: Sequence[Tensor]) -> Tensor:
        """(K, H) states of ``<seg>`` to (K, 4g, 4g) mask logits."""
        with autocast_to_weights(self.model):
            return self.model.sam(states, torch.arange(len(states), device=states.device), torch.stack(list(features)))


@MODELS.register_module()
class LISA(PartlyFrozenModel):
    """LISA whose answers look at what they have segmented.

    Args:
        tokenizer: a Hugging Face tokenizer or its config.
        semantic_encoder: config of a :class:`~lira_plugin.models.SemanticEncoder`, for images and views.
        sam: config of a :class:`~lisa_ilvc.SamDecoder`.
        llm: config of an :class:`~lira_plugin.models.InterleavedLLM` around any causal LM, its ``lora`` included.
        loss_mask, loss_dice: configs of mmdet's losses.
        num_points: points at which masks are compared.
        special_tokens: spelling.
        frozen: names of modules that are not trained.
        init_from: weights of earlier stages, each the arguments of :func:`~lira_plugin.checkpoint.files.load_into`.
        generation: settings of Algorithm 1, as a LIRA's.
    """

    def __init__(
        self,
        tokenizer: Any,
        semantic_encoder: dict,
        sam: dict,
        llm: dict,
        loss_mask: dict,
        loss_dice: dict,
        num_points: int = 12544,
        special_tokens: Any = None,
        frozen: Sequence[str] = (),
        init_from: Sequence[dict] = (),
        generation: dict | None = None,
    ) -> None:
        super().__init__()
        self.tokenizer, self.ids, first_new = load_tokenizer(tokenizer, special_tokens)
        self.semantic_encoder = MODELS.build(semantic_encoder)
        self.sam = MODELS.build(sam)
        rows = vocabulary_rows(self.tokenizer)
        self.llm = MODELS.build(dict(llm) | {"vocabulary_size": rows, "first_new_token": first_new})
        self.loss_mask, self.loss_dice = MODELS.build(loss_mask), MODELS.build(loss_dice)
        self.sampling = PointSampling(num_points)
        self.generation = dict(generation or {})
        for stage in init_from:
            load_into(self, **stage)
        self.freeze_parts(frozen)

    @property
    def input_spec(self) -> InputSpec:
        """What the data take from this model: images of SAM's size, tiles of the semantic encoder, no pixel or object tokens."""
        settings = {**LIRA_SETTINGS, "image_size": "model.sam", "semantic": "model"}
        sizes = {"image_size": self.sam.image_size, "pixel_cell": 0, "object_tokens": 0, "semantic": True}
        return InputSpec(**sizes, settings=settings, **language_settings(self))

    def forward(
        self, batch: GroundingBatch, data_samples: Sequence[GroundingSample] | None = None, mode: str = "loss"
    ) -> dict[str, Tensor] | list[GroundedText]:
        """MMEngine's entry point: ``loss``, or ``predict``, which needs the samples."""
        if mode == "predict":
            return self.generator()(self.requests(batch, data_samples))
        with autocast_to_weights(self):
            return self.loss(batch, data_samples)

    def loss(self, batch: GroundingBatch, data_samples: Sequence[GroundingSample] | None = None) -> dict[str, Tensor]:
        """Language loss, and mask losses at every supervised ``<seg>``, before and after its phrase."""
        names = [sample.name for sample in data_samples or ()] or [str(index) for index in range(len(batch.labels))]
        images = self.encode_images(batch)
        output = self.llm(self.embed_sequence(batch, images, names), batch.attention_mask, batch.labels)
        states, state_image = supervised_segs(batch, output.hidden, self.ids.seg, data_samples)
        logits = self.sam(states, state_image, images.embeddings)
        masks = batch.masks[batch.seg_mask_index]
        return {"loss_llm": output.loss} | point_losses([logits], masks, self.loss_mask, self.loss_dice, self.sampling)

    def requests(self, batch: GroundingBatch, data_samples: Sequence[GroundingSample]) -> Iterator[Request]:
        """Encode prompts for :meth:`generator`, each image once."""
        with torch.inference_mode(), autocast_to_weights(self):
            images = self.encode_images(batch)

        def embed(some: slice, names: Sequence[str]) -> Tensor:
            return self.embed_sequence(*slice_batch(batch, images, some), names)

        features = [images.embeddings[image] for image in image_of_sample(batch).tolist()]
        return prompt_requests(self, batch, data_samples, embed, features)

    def generator(self, **settings: Any) -> InterleavedGenerator:
        """Algorithm 1 with this model; ``settings`` replace those of ``generation``."""
        return make_generator(self, grounder=SamGrounder(self), **{**self.generation, **settings})

    def encode_images(self, batch: GroundingBatch) -> EncodedImages:
        """Images for SAM; tiles and views for the LLM."""
        inputs = image_inputs(batch, read_tiles=True)
        embeddings = torch.cat([self.sam.encode(part) for part in split_for_memory(inputs.pixel_images)])
        parts = split_for_memory(torch.cat([inputs.tiles, inputs.views]))
        tokens = torch.cat([self.semantic_encoder(part) for part in parts])
        return EncodedImages(embeddings, tokens[: len(inputs.tiles)], inputs.tile_image, tokens[len(inputs.tiles) :])

    def embed_sequence(self, batch: GroundingBatch, images: EncodedImages, names: Sequence[str]) -> Tensor:
        """Embed the text, and put the tokens of images and views into their positions: (B, L, H)."""
        blocks = [images.tokens[images.tile_image == image] for image in batch.block_image.tolist()]
        if not blocks:  # text only: the encoder is part of the graph all the same
            return self.llm.embed(batch.input_ids) + 0 * images.tokens.sum()
        features = {TokenKind.SEMANTIC: torch.cat(blocks).flatten(0, 1), TokenKind.VIEW: images.views.flatten(0, 1)}
        return scatter_features(self.llm.embed(batch.input_ids), batch.kinds, features, names)
