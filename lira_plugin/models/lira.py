"""LIRA: encode, fuse, read with the LLM, decode masks.

Shape letters: B samples, L rows, N images, T tiles, R region views, K ``<seg>`` states, H width of the LLM.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from torch import Tensor

from lira_plugin.models.batch_images import (
    Seen,
    blank_image,
    image_of_sample,
    in_parts,
    part_of,
    repeat_shared,
    shared_prefixes,
    visible_rows,
)
from lira_plugin.models.checkpoint import check_state, load_into, weights_left_out
from lira_plugin.models.data_parallel import LoggedModel, is_sharded, mean_count
from lira_plugin.models.feature_cache import FeatureCache
from lira_plugin.models.generation import Decoding, Drafts, InterleavedGenerator, Request
from lira_plugin.models.grounder import LIRAGrounder
from lira_plugin.models.interleaved_llm import (
    InterleavedLLM,
    LLMOutput,
    scatter_features,
    seg_positions,
)
from lira_plugin.models.mask_decoder import MaskDecoder
from lira_plugin.models.object_queries import best_queries
from lira_plugin.models.pixel_encoder import PixelEncoder, PixelFeatures
from lira_plugin.models.precision import autocast_to_weights
from lira_plugin.models.sefe import SEFE
from lira_plugin.models.semantic_encoder import TileEncoder
from lira_plugin.models.trainable import freeze, keep_frozen_in_eval
from lira_plugin.registry import MODELS
from lira_plugin.structures import GroundedText, GroundingBatch, GroundingSample, RowKind
from lira_plugin.tokens import load_tokenizer, single_token_id, vocabulary_rows

_READ_TOGETHER = 16
"""Prompts whose rows are made at a time."""


class Encoded(NamedTuple):
    """A batch in front of the LLM."""

    features: PixelFeatures
    embeddings: Tensor
    """(B, L, H)."""
    attention_mask: Tensor
    """(B, L) bool, unused object rows cleared."""


@MODELS.register_module()
class LIRA(LoggedModel):
    """Large multimodal model that segments what it talks about (arXiv 2507.06272).

    Args:
        tokenizer: a Hugging Face tokenizer or its config.
        semantic_encoder, pixel_encoder, sefe, llm, mask_decoder: configs of the parts.
        special_tokens: spelling (:class:`~lira_plugin.tokens.SpecialTokens` or its arguments).
        frozen: parts, or dotted names of modules inside of them, that are not trained: ``("pixel_encoder", "llm")``.
        init_from: weights of earlier stages, each the arguments of :func:`~lira_plugin.models.checkpoint.load_into`. LoRA is
            put around the LLM after that, so they hold no adapters; to go on from a checkpoint with them, use the runner's
            ``load_from``.
        loss_weights: of ``llm``, ``masks``, ``projection`` and ``query``; 0 leaves the branch out. ``query``, which the paper has
            not, asks a ``<seg>`` state for the query of its object. That tells an LLM that starts from nothing which object
            is meant much sooner than masks do.
        generation: settings of :meth:`generator`: those of :class:`~lira_plugin.models.generation.Decoding`, ``batch_size``
            (answers written at the same time) and ``end_token`` (the text that ends an answer).
        feature_cache: ``root`` and further arguments of :class:`~lira_plugin.models.feature_cache.FeatureCache`: training keeps
            on disk what the frozen semantic encoder gives for the tiles of images. None encodes them every time.
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
        generation: dict | None = None,
        feature_cache: dict | None = None,
    ) -> None:
        super().__init__()
        self.tokenizer, self.ids, first_new = load_tokenizer(tokenizer, special_tokens)
        self.semantic_encoder: TileEncoder = MODELS.build(semantic_encoder)
        self.pixel_encoder: PixelEncoder = MODELS.build(pixel_encoder)
        self.sefe: SEFE = MODELS.build(sefe)
        llm = dict(llm, vocabulary_size=vocabulary_rows(self.tokenizer), first_new_token=first_new)
        lora = llm.pop("lora", None)
        self.llm: InterleavedLLM = MODELS.build(llm)
        self.mask_decoder: MaskDecoder = MODELS.build(mask_decoder)
        self.loss_weights = {"llm": 1.0, "masks": 1.0, "projection": 0.0, "query": 0.0}
        if unknown := set(loss_weights or ()) - set(self.loss_weights):
            raise ValueError(f"unknown loss_weights {sorted(unknown)}; known are {sorted(self.loss_weights)}")
        self.loss_weights |= loss_weights or {}
        self.generation = dict(generation or {})
        self.drafts = Drafts()
        """What answers were made of so far: :meth:`generator` guesses from it how others go on."""
        self.frozen: tuple[str, ...] = ()
        for stage in init_from:
            load_into(self, **stage)
        if lora:  # only now: earlier stages have no adapters, and the adapters go around what they learnt
            self.llm.add_lora(lora)
        self.frozen = tuple(frozen)
        for name in self.frozen:
            freeze(self.get_submodule(name))
        self.feature_cache = FeatureCache(self.semantic_encoder, **feature_cache) if feature_cache else None
        self._register_load_state_dict_pre_hook(self._complete_state)
        if not weights_left_out():  # which may come with a tokenizer that is assumed
            self.generator()  # so that a wrong setting is an error now, not after the training

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
        """Language, mask, query and projection losses, and the count of regions that truncation dropped."""
        encoded = self.encode(batch, data_samples)
        output = self.llm(encoded.embeddings, encoded.attention_mask, batch.labels)
        losses = {"loss_llm": output.loss * self.loss_weights["llm"]}
        if self.loss_weights["masks"] or self.loss_weights["query"]:
            states, image_owner = self._seg_states(batch, output.hidden, data_samples)
            regions = (states, image_owner, encoded.features, batch.masks[batch.seg_masks])
            if self.loss_weights["masks"]:
                losses |= self._mask_losses(*regions)
            if self.loss_weights["query"]:
                losses["loss_query"] = self._query_loss(*regions)
        if self.loss_weights["projection"]:
            losses["loss_projection"] = self._projection_loss(encoded.features, len(batch.pixel_images))
        return losses | {"seg/skipped": batch.dropped_regions.sum().float()}

    def predict(self, batch: GroundingBatch, data_samples: Sequence[GroundingSample]) -> list[GroundedText]:
        """Run Algorithm 1; the sequences of the batch are prompts.

        Raises:
            RuntimeError: the weights are sharded over processes, which would each need all others at every pass.
        """
        if get_world_size() > 1 and is_sharded(self):
            raise RuntimeError(
                "no process can answer while the weights are sharded (FSDP or ZeRO-3): each has passes of its own, and each pass "
                "would wait for all processes; train without validation, or under ZeRO-2, and test a checkpoint with xtuner test"
            )
        return self.generator()(self.requests(batch, data_samples))

    @torch.inference_mode()
    def requests(self, batch: GroundingBatch, data_samples: Sequence[GroundingSample]) -> Iterator[Request]:
        """Encode prompts, each image once, for :meth:`generator`.

        It runs when the first request is taken, so batches can be chained without being encoded all at once; and the rows of many
        questions about one image are made a few questions at a time. Its tensors are of inference mode: they have no gradients.
        """
        with autocast_to_weights(self):
            seen = self._see(batch)
        visible = visible_rows(batch, seen)
        prefixes = shared_prefixes(batch, visible)
        images = image_of_sample(batch).tolist()
        text = batch.attention_mask & (batch.kinds == RowKind.TEXT)
        for number, (sample, prefix, image) in enumerate(zip(data_samples, prefixes, images, strict=True)):
            place = number % _READ_TOGETHER
            if not place:
                some = slice(number, number + _READ_TOGETHER)
                with autocast_to_weights(self):
                    embeddings = self._read(*part_of(batch, seen, some), [sample.name for sample in data_samples[some]])
            forced_ids = self._forced_ids(sample.forced_answer)
            yield Request(
                embeddings[place][visible[number]],
                sample.image,
                sample.letterbox,
                (seen.features.pyramid, image),
                prefix,
                forced_ids,
                closed=forced_ids[-1:] == (self.ids.seg,),
                prompt_ids=tuple(batch.input_ids[number][text[number]].tolist()),
                draw=sample.index,
            )

    def _forced_ids(self, answer: str) -> tuple[int, ...]:
        """Tokenize as in training: what follows a view is a chunk of its own."""
        view = self.tokenizer.convert_ids_to_tokens(self.ids.image_id)
        chunks = re.split(f"(?<={re.escape(view)})", answer)
        return tuple(
            token for chunk in chunks for token in self.tokenizer(chunk, add_special_tokens=False)["input_ids"]
        )

    def generator(self, **settings: Any) -> InterleavedGenerator:
        """Algorithm 1 with this model.

        Args:
            settings: ``batch_size``, ``end_token`` and arguments of :class:`~lira_plugin.models.generation.Decoding` that
                replace those of ``generation``.
        """
        settings = {"end_token": "<|im_end|>", "batch_size": 32, **self.generation, **settings}
        end_id = single_token_id(self.tokenizer, settings.pop("end_token"), "generation=dict(end_token=...)")
        phrase_start = self.tokenizer.convert_ids_to_tokens(self.ids.phrase_start)
        return InterleavedGenerator(
            LIRAGrounder(self),
            self.ids,
            end_id,
            forced_ids=self.tokenizer(f" {phrase_start}", add_special_tokens=False)["input_ids"],
            decode=self._text_of,
            batch_size=settings.pop("batch_size"),
            drafts=self.drafts,
            decoding=Decoding(**settings),
        )

    def _text_of(self, ids: Sequence[int]) -> str:
        # of a list transformers would look at every single token, which takes ten times as long as the rest
        return self.tokenizer.decode(np.asarray(ids, np.int64), clean_up_tokenization_spaces=False)

    def encode(self, batch: GroundingBatch, data_samples: Sequence[GroundingSample] | None = None) -> Encoded:
        """Encode the images, fuse, and put the features into their rows."""
        names = [sample.name for sample in data_samples or ()] or [f"sample {i}" for i in range(len(batch.input_ids))]
        seen = self._see(batch)
        return Encoded(seen.features, self._read(batch, seen, names), visible_rows(batch, seen))

    def _see(self, batch: GroundingBatch) -> Seen:
        """Encode images, tiles and views, and fuse."""
        blank = not len(batch.pixel_images)
        images = blank_image(batch) if blank else (batch.pixel_images, batch.tiles, batch.tile_owner)
        pixel_images, tiles, tile_owner = images
        if self.sefe.enrich is None:  # nothing reads the tiles; one keeps the encoder in the graph of every process
            tiles, tile_owner = tiles[:1], tile_owner[:1]
        features = PixelFeatures.joined([self.pixel_encoder.encode(part) for part in in_parts(pixel_images)])
        views = batch.region_tiles.reshape(-1, *tiles.shape[1:])
        if self.feature_cache and self.training:
            semantic = self.feature_cache(tiles, views)
        else:
            semantic = torch.cat([self.semantic_encoder(part) for part in in_parts(torch.cat([tiles, views]))])
        tokens = self.sefe(features, semantic[: len(tiles)], tile_owner)
        return Seen(features, tokens, tile_owner, semantic[len(tiles) :])

    def _read(self, batch: GroundingBatch, seen: Seen, names: Sequence[str]) -> Tensor:
        """Put what was seen into its rows, (B, L, H)."""
        blank = not len(batch.pixel_images)
        tokens = seen.tokens if blank else repeat_shared(seen.tokens, seen.tile_owner, batch.block_image)
        num_blocks = len(tokens.pixels)
        rows = {
            RowKind.SEMANTIC: tokens.semantic.flatten(0, 1),
            RowKind.SEMANTIC_SEPARATOR: self.sefe.semantic_separator.expand(num_blocks, -1),
            RowKind.PIXEL: tokens.pixels.flatten(0, 1),
            RowKind.PIXEL_SEPARATOR: self.sefe.pixel_separator.expand(num_blocks, -1),
            RowKind.OBJECT: tokens.objects.flatten(0, 1),
            RowKind.REGION: seen.regions.flatten(0, 1),
        }
        embeddings = self.llm.embed(batch.input_ids)
        if blank:  # text only: the trained branches run all the same, for the sake of distributed training
            return embeddings + 0 * sum(feature.sum() for feature in rows.values())
        return scatter_features(embeddings, batch.kinds, rows, names)

    def _seg_states(
        self, batch: GroundingBatch, hidden: Tensor, data_samples: Sequence[GroundingSample] | None
    ) -> tuple[Tensor, Tensor]:
        """States (K, H) of the supervised ``<seg>`` tokens and the image (K,) of each."""
        places = seg_positions(batch.labels, self.ids.seg)
        if int(places.sum()) != len(batch.seg_masks):
            names = [sample.name for sample in data_samples or ()]
            raise ValueError(
                f"{int(places.sum())} <seg> tokens are supervised but {len(batch.seg_masks)} masks are given for them, in the "
                f"batch of {names or len(batch.labels)}"
            )
        return hidden[places], image_of_sample(batch).to(places.device)[places.nonzero(as_tuple=True)[0]]

    def _mask_losses(
        self, states: Tensor, image_owner: Tensor, features: PixelFeatures, targets: Tensor
    ) -> dict[str, Tensor]:
        logits = self.mask_decoder(states, image_owner, features.pyramid, self.pixel_encoder.segmenter)
        losses = self.mask_decoder.loss(logits, targets)
        return {name: loss * self.loss_weights["masks"] for name, loss in losses.items()}

    def _query_loss(self, states: Tensor, image_owner: Tensor, features: PixelFeatures, masks: Tensor) -> Tensor:
        """A ``<seg>`` state is to give the query of its object, as an object token does in the projection loss.

        Only for objects that a query segments, with an IoU above 0.5: groups and absent objects have none.
        """
        best = best_queries(features.object_masks, masks, image_owner)
        known = best.iou > 0.5
        queries = features.objects[image_owner[known], best.index[known]].float()
        squares = F.mse_loss(self.mask_decoder.project(states[known]).float(), queries, reduction="sum")
        count = mean_count(len(queries), squares.device) * queries.shape[-1]
        return self.loss_weights["query"] * squares / count

    def _projection_loss(self, features: PixelFeatures, num_images: int) -> Tensor:
        """An object token, read as a ``<seg>`` state, is to give its query back (``omg_llava/model/lira.py:1080-1109``).

        The blank image that a batch of text is run with teaches nothing: without images this is an exact zero that the
        projections are still part of.
        """
        recovered = self.mask_decoder.state_proj(self.sefe.project_objects(features.objects))[:num_images]
        squares = F.mse_loss(recovered.float(), features.objects[:num_images].float(), reduction="sum")
        count = mean_count(num_images, squares.device) * recovered.shape[1:].numel()
        return self.loss_weights["projection"] * squares / count

    def init_weights(self) -> None:
        """Keep the weights: parts initialise themselves when built, and earlier stages are loaded (``init_from``).

        MMEngine calls this before training; its default would initialise the loaded segmenter anew.
        """

    def train(self, mode: bool = True) -> "LIRA":
        """Switch the mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        keep_frozen_in_eval(self.get_submodule(name) for name in self.frozen)
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What this stage trains; frozen parts come from their own files (``init_from``)."""
        state = super().state_dict(*args, **kwargs)
        prefix = kwargs.get("prefix", "")
        frozen = {prefix + name for name in self._frozen_names()}
        for name in frozen & state.keys():
            del state[name]
        return state

    def _frozen_names(self) -> set[str]:
        named = self.named_parameters(remove_duplicate=False)  # tied weights under each of their names
        parameters = {name for name, parameter in named if not parameter.requires_grad}
        buffers = {name for name, _ in self.named_buffers() if name.startswith(tuple(f"{f}." for f in self.frozen))}
        return parameters | buffers

    def _complete_state(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Check a state dict about to be loaded, and complete it with the frozen parts that it leaves out."""
        given = {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
        own = super().state_dict()
        check_state(given, own, "to be loaded", may_lack=tuple(self._frozen_names()))
        for name in own.keys() - given.keys():
            state_dict[prefix + name] = own[name]
