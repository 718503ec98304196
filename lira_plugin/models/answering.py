"""A LIRA as generation sees it: its requests, its generator, and the parts that Algorithm 1 asks for.

Shape letters: B samples, L positions, N images, K ``<seg>`` states, U tokens of a view, H width of the LLM.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor

from lira_plugin.models.generation import Decoding, Grounder, InterleavedGenerator, Prefix, Request, WordRule, WordSet
from lira_plugin.models.generation.seg_words import make_seg_words
from lira_plugin.models.pixel_encoder.mask2former import DecoderMemory
from lira_plugin.models.visual_blocks import EncodedImages, image_of_sample, slice_batch, visible_positions
from lira_plugin.precision import autocast_to_weights
from lira_plugin.settings import refuse_type, refuse_unknown
from lira_plugin.structures import GroundingBatch, GroundingSample, TokenKind, region_view
from lira_plugin.tokens import single_token_id

END_TOKEN = "<|im_end|>"
"""Text of the token that ends an answer, unless a recipe names another."""
GENERATION_SETTINGS = (
    "end_token",
    "batch_size",
    "prompt_lookup_num_tokens",
    "seg_words",
    "seg_word_rule",
    *(field.name for field in fields(Decoding)),
)
"""What ``generation`` of a recipe may set, and an inferencer for a call."""
_PROMPTS_TOGETHER = 16
"""Prompts that are embedded at a time."""


@torch.inference_mode()
def make_requests(
    model: BaseModel,
    batch: GroundingBatch,
    data_samples: Sequence[GroundingSample],
    encode: Callable[[GroundingBatch], EncodedImages] | None = None,
) -> Iterator[Request]:
    """Encode prompts, each image once, for the generator.

    It runs when the first request is taken, so batches can be chained without being encoded all at once. Many questions about one
    image are embedded a few at a time. The tensors are of inference mode: they have no gradients.

    Args:
        model: the LIRA.
        batch: the prompts.
        data_samples: of each.
        encode: encodes the images and views of the batch; by default the model does.
    """
    with autocast_to_weights(model):
        encoded = (encode or model.encode_images)(batch)

    def embed(some: slice, names: Sequence[str]) -> Tensor:
        return model.embed_sequence(*slice_batch(batch, encoded, some), names)

    memory, images = encoded.features.decoder_memory, image_of_sample(batch).tolist()
    visible = visible_positions(batch, encoded)
    yield from prompt_requests(model, batch, data_samples, embed, [(memory, image) for image in images], visible)


@torch.inference_mode()
def prompt_requests(
    model: BaseModel,
    batch: GroundingBatch,
    data_samples: Sequence[GroundingSample],
    embed: Callable[[slice, Sequence[str]], Tensor],
    features: Sequence[Any],
    visible: Tensor | None = None,
) -> Iterator[Request]:
    """Requests of a batch of prompts, whatever their model makes of images.

    Args:
        model: with ``ids`` of the special tokens; its weights say the type to compute in.
        batch: the prompts.
        data_samples: of each.
        embed: embeds the sequences of a slice of the batch: (n, L, H); it gets their names for messages.
        features: of each sample, what :meth:`Grounder.decode_masks` takes to find the features of its image.
        visible: (B, L) bool, positions that the LLM reads; all that do not pad, by default.
    """
    visible = batch.attention_mask if visible is None else visible
    prefixes = shared_prefixes(batch, visible)
    is_text = batch.attention_mask & (batch.kinds == TokenKind.TEXT)
    for index, (sample, prefix, image) in enumerate(zip(data_samples, prefixes, features, strict=True)):
        offset = index % _PROMPTS_TOGETHER
        if not offset:
            some = slice(index, index + _PROMPTS_TOGETHER)
            with autocast_to_weights(model):
                embeddings = embed(some, [sample.name for sample in data_samples[some]])
        yield Request(
            embeddings[offset][visible[index]],
            sample.image,
            sample.letterbox,
            image,
            prefix,
            sample.forced_ids,
            closed=sample.forced_ids[-1:] == (model.ids.seg,),
            prompt_ids=tuple(batch.input_ids[index][is_text[index]].tolist()),
            draw_index=sample.index,
        )


def make_generator(
    model: BaseModel,
    end_token: str = END_TOKEN,
    batch_size: int = 32,
    prompt_lookup_num_tokens: int = 0,
    seg_words: Mapping[str, WordSet] | None = None,
    seg_word_rule: WordRule = "first",
    grounder: Grounder | None = None,
    **decoding: Any,
) -> InterleavedGenerator:
    """Algorithm 1 with a LIRA, or with another model that has ``tokenizer``, ``ids`` and ``llm`` and gives its grounder.

    Args:
        model: the LIRA, or the other model.
        end_token: text of the token that ends an answer.
        batch_size: answers written at the same time.
        prompt_lookup_num_tokens: see :class:`~lira_plugin.models.generation.InterleavedGenerator`.
        seg_words: for each kind of attribute its words, or a mapping from words to values, such as
            ``{"color": ["red", "blue"]}``; None for a kind takes the values of its lexicon. Spans then say how probable each is
            at their ``<seg>`` (``GroundedSpan.words``). None asks for nothing.
        seg_word_rule: ``first``: a word counts up to its first token that tells it from the others of its set. ``whole``: all
            of its tokens count, so that long words are less probable.
        grounder: of the other model; by default that of a LIRA.
        decoding: arguments of :class:`~lira_plugin.models.generation.Decoding`.

    Raises:
        WrongSetting: a setting is unknown or of another type.
    """
    refuse_unknown(decoding, GENERATION_SETTINGS, "generation")
    refuse_type("batch_size", batch_size, int)
    refuse_type("prompt_lookup_num_tokens", prompt_lookup_num_tokens, int)
    refuse_type("seg_words", seg_words, Mapping | None)
    tokenizer = model.tokenizer
    phrase_start = tokenizer.convert_ids_to_tokens(model.ids.phrase_start)

    def decode(ids: Sequence[int]) -> str:
        # of a list transformers would look at every single token, which takes ten times as long as the rest
        return tokenizer.decode(np.asarray(ids, np.int64), clean_up_tokenization_spaces=False)

    return InterleavedGenerator(
        grounder or LIRAGrounder(model),
        model.ids,
        single_token_id(tokenizer, end_token, "generation=dict(end_token=...)"),
        phrase_opening=tokenizer(f" {phrase_start}", add_special_tokens=False)["input_ids"],
        decode=decode,
        decoding=Decoding(**decoding),
        batch_size=batch_size,
        prompt_lookup_num_tokens=prompt_lookup_num_tokens,
        seg_words=make_seg_words(model.llm, tokenizer, model.ids.seg, seg_words, seg_word_rule),
    )


class LIRAGrounder:
    """The :class:`~lira_plugin.models.generation.Grounder` of a LIRA.

    An image is named by the decoder memory of its batch and its index in it.

    Args:
        model: the LIRA.
    """

    def __init__(self, model: BaseModel) -> None:
        self.model, self.llm = model, model.llm

    def decode_masks(self, states: Tensor, features: Sequence[tuple[DecoderMemory, int]]) -> Tensor:
        """(K, H) states of ``<seg>`` to (K, h, w) mask logits: one call of the decoder for all."""
        decoder_memory, images = _one_memory(features)
        state_image = torch.tensor(images, device=states.device)
        with autocast_to_weights(self.model):
            return self.model.mask_decoder(states, state_image, decoder_memory, self.model.pixel_encoder.segmenter)[-1]

    def encode_views(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Tensor:
        """Cut a view of each (H, W, 3) image around its (H, W) mask; (K, U, H) tokens of the semantic encoder."""
        encoder = self.model.semantic_encoder
        views = np.stack([region_view(image, mask, encoder.tile_size) for image, mask in zip(images, masks)])
        with autocast_to_weights(self.model):
            return encoder(torch.from_numpy(views).permute(0, 3, 1, 2).to(encoder.mean.device))


def with_block_prefix(request: Request, sample: GroundingSample, key: Hashable) -> Request:
    """A request that shares its start, up to the end of its last visual block, with those of other batches about its image.

    Args:
        request: of the sample.
        sample: the prompt.
        key: names the image. Requests of one key and equal tokens up to there have equal starts.
    """
    features = (sample.kinds != TokenKind.TEXT) & (sample.kinds != TokenKind.VIEW)
    end = int(features.nonzero().max()) + 1 if features.any() else 0
    length = len(request.embeddings) - (len(sample.kinds) - end)  # unused object tokens are left out of the embeddings
    if not end or not 0 < length < len(request.embeddings) or (sample.kinds[:end] == TokenKind.VIEW).any():
        return replace(request, prefix=None)
    start = tuple(sample.input_ids[:end].tolist())
    return replace(request, prefix=Prefix((key, start), length))


def shared_prefixes(batch: GroundingBatch, visible: Tensor) -> list[Prefix | None]:
    """The longest start that samples about the same images share, in visible positions; None where a sample is alone."""
    samples, images = batch.block_sample.tolist(), batch.block_image.tolist()
    keys = [
        tuple(image for owner, image in zip(samples, images) if owner == sample)
        for sample in range(len(batch.input_ids))
    ]
    prefixes: list[Prefix | None] = [None] * len(keys)
    batch_key = object()  # unlike an id, never that of a later batch
    for key in set(keys):
        sharing = [sample for sample, own in enumerate(keys) if own == key]
        if len(sharing) < 2:
            continue
        ids, kinds = batch.input_ids[sharing], batch.kinds[sharing]
        same = (ids == ids[:1]).all(0) & (kinds == kinds[:1]).all(0) & (kinds != TokenKind.VIEW).all(0)
        shortest = int(batch.attention_mask[sharing].sum(1).min())
        length = min(int(same.long().cumprod(0).sum()), shortest - 1)
        num_visible = int(visible[sharing[0], :length].sum())
        if num_visible:
            for sample in sharing:
                prefixes[sample] = Prefix((batch_key, key), num_visible)
    return prefixes


def _one_memory(images: Sequence[tuple[DecoderMemory, int]]) -> tuple[DecoderMemory, list[int]]:
    """One decoder memory for images of several batches, with those alone, and the index of each in it."""
    batches = {id(memory): memory for memory, _ in images}
    if len(batches) == 1:
        return images[0][0], [index for _, index in images]
    ranks = {batch: rank for rank, batch in enumerate(batches)}
    named = [(ranks[id(memory)], index) for memory, index in images]
    wanted = sorted(set(named))
    positions = {name: position for position, name in enumerate(wanted)}
    own = [torch.tensor([index for batch, index in wanted if batch == rank]) for rank in ranks.values()]
    parts = [memory.of(some) for memory, some in zip(batches.values(), own, strict=True)]
    return DecoderMemory.joined(parts), [positions[name] for name in named]
