"""A question to a mask, without an LLM: the template for a project, small enough to be read in a minute.

Shape letters: B samples, L positions, H width of the state.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lira_plugin.checkpoint.files import load_into
from lira_plugin.models.partly_frozen import PartlyFrozenModel
from lira_plugin.models.visual_blocks import image_of_sample
from lira_plugin.precision import autocast_to_weights
from lira_plugin.registry import MODELS
from lira_plugin.structures import (
    IGNORE_INDEX,
    GroundingBatch,
    GroundingSample,
    InputSpec,
    MaskPrediction,
    build_template,
)
from lira_plugin.tokens import SpecialTokens, load_tokenizer, vocabulary_rows


@MODELS.register_module()
class WordSegmenter(PartlyFrozenModel):
    """A GRU reads the question; its last state is decoded as that of a ``<seg>`` would be. Each sample has one region.

    Args:
        tokenizer: a Hugging Face tokenizer or its config.
        pixel_encoder: config of a :class:`~lira_plugin.models.PixelEncoder`.
        mask_decoder: config of a :class:`~lira_plugin.models.MaskDecoder`, whose ``hidden_size`` is H.
        hidden_size: H.
        chat_template: how the question is written.
        special_tokens: spelling.
        frozen: names of modules that are not trained.
        init_from: weights of earlier stages, each the arguments of :func:`~lira_plugin.checkpoint.files.load_into`.
    """

    def __init__(
        self,
        tokenizer: Any,
        pixel_encoder: dict,
        mask_decoder: dict,
        hidden_size: int,
        chat_template: Any,
        special_tokens: Any = None,
        frozen: Sequence[str] = (),
        init_from: Sequence[dict] = (),
    ) -> None:
        super().__init__()
        self.tokenizer, self.ids, _ = load_tokenizer(tokenizer, special_tokens)
        self.embed = nn.Embedding(vocabulary_rows(self.tokenizer), hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.pixel_encoder, self.mask_decoder = MODELS.build(pixel_encoder), MODELS.build(mask_decoder)
        self.template = build_template(chat_template)
        for stage in init_from:
            load_into(self, **stage)
        self.freeze_parts(frozen)

    @property
    def input_spec(self) -> InputSpec:
        """What the data take from this model: images of the pixel encoder's size alone, and no views."""
        return InputSpec(
            image_size=self.pixel_encoder.image_size,
            pixel_cell=0,
            object_tokens=0,
            tile_size=1,
            tokens_per_tile=0,
            semantic=False,
            tokenizer=self.tokenizer,
            special_tokens=SpecialTokens(*self.tokenizer.convert_ids_to_tokens(list(self.ids))),
            template=self.template,
            ilvc=False,
        )

    def forward(
        self, batch: GroundingBatch, data_samples: Sequence[GroundingSample] | None = None, mode: str = "loss"
    ) -> dict[str, Tensor] | list[MaskPrediction]:
        """MMEngine's entry point: ``loss``, or ``predict``, which needs the samples."""
        with autocast_to_weights(self):
            memory = self.pixel_encoder.encode(batch.pixel_images).decoder_memory
            logits = self.mask_decoder(self.read(batch), image_of_sample(batch), memory, self.pixel_encoder.segmenter)
        if mode == "loss":
            return self.mask_decoder.loss(logits, batch.masks)
        masks = [sample.letterbox.invert_logits(own[None]) > 0 for sample, own in zip(data_samples, logits[-1].float())]
        return [MaskPrediction(mask) for mask in masks]

    def read(self, batch: GroundingBatch) -> Tensor:
        """(B, H): the state of each sample at the end of its question, before any answer."""
        asked = (batch.attention_mask & (batch.labels == IGNORE_INDEX)).long().cumprod(1)
        states, _ = self.gru(self.embed(batch.input_ids))
        return states[torch.arange(len(states), device=states.device), asked.sum(1) - 1]
