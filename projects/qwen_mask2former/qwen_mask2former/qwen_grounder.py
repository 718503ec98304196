"""Qwen2-VL (arXiv 2409.12191) as a grounding model: it sees with its own tower, and Mask2Former decodes its ``<seg>`` states.

Shape letters: B samples, L positions, N images, T tiles of t x t pixels, P patches of a tile, U tokens of it, p side of a patch,
K ``<seg>`` states, H width of the LLM.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lira_plugin.checkpoint.files import load_into
from lira_plugin.models.answering import END_TOKEN
from lira_plugin.models.extra_losses import SegLossInputs
from lira_plugin.models.interleaved_llm import LLMOutput
from lira_plugin.models.partly_frozen import PartlyFrozenModel
from lira_plugin.models.visual_blocks import image_inputs, image_of_sample, supervised_segs
from lira_plugin.precision import autocast_to_weights
from lira_plugin.registry import MODELS
from lira_plugin.structures import GroundingBatch, GroundingSample, InputSpec, MaskPrediction, TokenKind
from lira_plugin.structures.input_spec import LIRA_SETTINGS
from lira_plugin.tokens import SpecialTokens, load_tokenizer, single_token_id, vocabulary_rows

VISION_TOKENS = {
    "vision_start_token_id": "<|vision_start|>",
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_end_token_id": "<|vision_end|>",
}
"""Qwen2-VL's tokens of images by the names that its config has for their ids."""


@MODELS.register_module()
class QwenGrounder(PartlyFrozenModel):
    """Qwen2-VL with a mask decoder: ``<p> phrase </p> <seg>`` in its answer is a region.

    Args:
        tokenizer: a Hugging Face tokenizer or its config; it gets Qwen2-VL's vision tokens where it has none.
        llm: config of an :class:`~lira_plugin.models.InterleavedLLM` around a ``Qwen2VLForConditionalGeneration``.
        pixel_encoder: config of a :class:`~lira_plugin.models.PixelEncoder`.
        mask_decoder: config of a :class:`~lira_plugin.models.MaskDecoder`.
        tile_size: t, the square as which Qwen2-VL reads an image; a multiple of a token's side (28 in the published models).
        special_tokens: spelling.
        extra_losses: configs of further losses on ``<seg>`` states, as a LIRA's.
        frozen: names of modules that are not trained.
        init_from: weights of earlier stages, each the arguments of :func:`~lira_plugin.checkpoint.files.load_into`.
        generation: arguments of transformers' ``generate``, such as ``max_new_tokens``.
        mean, std: normalisation of values in 0..1 that Qwen2-VL's tower has learnt.

    Raises:
        ValueError: the tile size is no multiple.
    """

    def __init__(
        self,
        tokenizer: Any,
        llm: dict,
        pixel_encoder: dict,
        mask_decoder: dict,
        tile_size: int = 448,
        special_tokens: Any = None,
        extra_losses: Sequence[dict] = (),
        frozen: Sequence[str] = (),
        init_from: Sequence[dict] = (),
        generation: Mapping[str, Any] | None = None,
        mean: Sequence[float] = (0.48145466, 0.4578275, 0.40821073),
        std: Sequence[float] = (0.26862954, 0.26130258, 0.27577711),
    ) -> None:
        super().__init__()
        self.tokenizer, self.ids, first_new = load_tokenizer(tokenizer, special_tokens)
        self.tokenizer.add_tokens([*VISION_TOKENS.values()], special_tokens=True)
        rows = vocabulary_rows(self.tokenizer)
        llm, lora = dict(llm), dict(llm).get("lora")
        self.llm = MODELS.build(llm | {"vocabulary_size": rows, "first_new_token": first_new, "lora": None})
        self.pixel_encoder, self.mask_decoder = MODELS.build(pixel_encoder), MODELS.build(mask_decoder)
        self.extra_losses = nn.ModuleList(MODELS.build(loss) for loss in extra_losses)
        self.generation = dict(generation or {})
        for stage in init_from:
            load_into(self, **stage)
        self.mask_decoder.copy_decoder(self.pixel_encoder.segmenter)
        if lora:
            self.llm.add_lora(lora)
        self.freeze_parts(frozen)
        config, self.tile_size = self.llm.config, tile_size
        config.update({name: self.tokenizer.convert_tokens_to_ids(token) for name, token in VISION_TOKENS.items()})
        self.patch, self.merge = config.vision_config.patch_size, config.vision_config.spatial_merge_size
        if tile_size % (side := self.patch * self.merge):
            raise ValueError(
                f"tile_size must be a multiple of {side}, the side of a token in pixels, got {tile_size!r}"
            )
        self.grid = tile_size // self.patch
        pads = [config.image_token_id] * (self.grid // self.merge) ** 2
        block = [config.vision_start_token_id, *pads, config.vision_end_token_id]
        for name, values in (("block", block), ("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values), persistent=False)

    @property
    def input_spec(self) -> InputSpec:
        """What the data take from this model: an image is one tile, whose positions have Qwen2-VL's vision tokens around them."""
        spelling = self.tokenizer.convert_ids_to_tokens(list(self.ids))
        return InputSpec(
            image_size=self.pixel_encoder.image_size,
            pixel_cell=0,
            object_tokens=0,
            tile_size=self.tile_size,
            tokens_per_tile=len(self.block),
            semantic=True,
            tokenizer=self.tokenizer,
            special_tokens=SpecialTokens(*spelling),
            template=self.llm.chat_template,
            end_token=END_TOKEN,
            ilvc=False,
            settings=LIRA_SETTINGS | {"tile_size": "model.tile_size", "tokens_per_tile": "model.tile_size"},
        )

    def forward(
        self, batch: GroundingBatch, data_samples: Sequence[GroundingSample] | None = None, mode: str = "loss"
    ) -> dict[str, Tensor] | list[MaskPrediction]:
        """MMEngine's entry point: ``loss``, or ``predict``, which needs the samples."""
        with autocast_to_weights(self):
            return self.predict(batch, data_samples) if mode == "predict" else self.loss(batch, data_samples)

    def loss(self, batch: GroundingBatch, data_samples: Sequence[GroundingSample] | None = None) -> dict[str, Tensor]:
        """Language loss, and mask and further losses at every supervised ``<seg>``."""
        inputs = image_inputs(batch, read_tiles=True)
        output = self.read(self.with_images(batch), batch.attention_mask, inputs.tiles, batch.block_image, batch.labels)
        states, state_image = supervised_segs(batch, output.hidden, self.ids.seg, data_samples)
        features = self.pixel_encoder.encode(inputs.pixel_images)
        logits = self.mask_decoder(states, state_image, features.decoder_memory, self.pixel_encoder.segmenter)
        masks = batch.masks[batch.seg_mask_index]
        losses = {"loss_llm": output.loss} | self.mask_decoder.loss(logits, masks)
        for extra_loss in self.extra_losses:
            losses |= extra_loss(SegLossInputs(states, state_image, features, masks, self.mask_decoder))
        return losses

    @torch.inference_mode()
    def predict(self, batch: GroundingBatch, data_samples: Sequence[GroundingSample]) -> list[MaskPrediction]:
        """Let transformers write the answers, read them once more, and decode the state of each ``<seg>`` in them."""
        inputs, length = image_inputs(batch, read_tiles=True), batch.input_ids.shape[1]
        order = torch.arange(length, device=batch.input_ids.device) + batch.attention_mask.sum(1, keepdim=True)
        ids, mask = (values.gather(1, order % length) for values in (self.with_images(batch), batch.attention_mask))
        tiles = batch.tiles[batch.block_image]
        images = {"pixel_values": self.patches(tiles), "image_grid_thw": self.grids(len(tiles))}
        end = single_token_id(self.tokenizer, END_TOKEN, "the end of an answer")
        greedy = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "use_cache": True}
        settings = greedy | {"eos_token_id": end, "pad_token_id": end} | self.generation
        ids = self.llm.model.generate(
            input_ids=ids, attention_mask=mask.long(), **(images if len(tiles) else {}), **settings
        )
        answers = ids[:, length:]
        before_end = (answers == end).cumsum(1) == 0
        whole = torch.cat([mask, before_end], 1)
        is_seg = torch.cat([mask & False, before_end & (answers == self.ids.seg)], 1)
        hidden = self.read(ids, whole, inputs.tiles, batch.block_image).hidden
        state_sample = is_seg.nonzero(as_tuple=True)[0]
        memory = self.pixel_encoder.encode(inputs.pixel_images).decoder_memory
        state_image = image_of_sample(batch)[state_sample]
        logits = self.mask_decoder(hidden[is_seg], state_image, memory, self.pixel_encoder.segmenter)[-1]
        return [
            self.prediction(answers[index][before_end[index]], logits[state_sample == index], sample)
            for index, sample in enumerate(data_samples)
        ]

    def prediction(self, answer: Tensor, logits: Tensor, sample: GroundingSample) -> MaskPrediction:
        """The masks of an answer at the size of its image, from (K, h, w) logits."""
        start, end = map(re.escape, self.tokenizer.convert_ids_to_tokens([self.ids.phrase_start, self.ids.phrase_end]))
        phrases = [phrase.strip() for phrase in re.findall(f"{start}(.*?){end}", self.tokenizer.decode(answer))]
        masks = sample.letterbox.invert_logits(logits.float()) > 0
        text = self.tokenizer.decode(answer, skip_special_tokens=True)
        return MaskPrediction(masks, phrases if len(phrases) == len(masks) else (), text=text)

    def with_images(self, batch: GroundingBatch) -> Tensor:
        """(B, L) token ids with the vision tokens at the positions of images."""
        return batch.input_ids.masked_scatter(
            batch.kinds == TokenKind.SEMANTIC, self.block.repeat(len(batch.block_image))
        )

    def read(
        self, ids: Tensor, attention_mask: Tensor, tiles: Tensor, block_image: Tensor, labels: Tensor | None = None
    ) -> LLMOutput:
        """Run Qwen2-VL over (B, L) ids, with its positions of three axes; the tiles are those of the N images, one each."""
        qwen, embeddings = self.llm.causal_lm, self.llm.embed(ids)
        tokens = qwen.visual(self.patches(tiles), self.grids(len(tiles))).unflatten(0, (len(tiles), -1))
        if len(block_image):
            is_image = (ids == qwen.config.image_token_id)[..., None]
            embeddings = embeddings.masked_scatter(is_image, tokens[block_image].to(embeddings.dtype))
        else:  # text only: the tower is part of the graph all the same
            embeddings = embeddings + 0 * tokens.sum()
        holder = qwen if hasattr(qwen, "get_rope_index") else qwen.model  # of transformers before 4.52, and since
        positions, _ = holder.get_rope_index(ids, self.grids(len(block_image)), None, attention_mask)
        return self.llm(embeddings, attention_mask, labels, positions)

    def grids(self, count: int) -> Tensor:
        """(count, 3): frames, and rows and columns of patches, of each image."""
        return self.block.new_tensor([[1, self.grid, self.grid]]).expand(count, -1)

    def patches(self, tiles: Tensor) -> Tensor:
        """(T, 3, t, t) uint8 to (T * P, values), as Qwen2-VL's image processor gives them: patches of a token in succession."""
        values = (tiles.to(self.mean.dtype) / 255 - self.mean.view(3, 1, 1)) / self.std.view(3, 1, 1)
        side = (self.grid // self.merge, self.merge, self.patch)
        parts = values.unflatten(3, side).unflatten(2, side).permute(0, 2, 5, 3, 6, 1, 4, 7)
        frames = self.llm.config.vision_config.temporal_patch_size
        return parts.unsqueeze(6).expand(*parts.shape[:6], frames, -1, -1).flatten(5).flatten(0, 4)
