"""Algorithm 1: interleaved generation of text, masks and region views over a batch.

Every row is a small state machine::

    SAMPLING --- <image_id> ---> WAITING --- view encoded, <p> forced ---> SAMPLING --- end or limit ---> DONE

All rows share one KV cache in which each has its own length, so nothing is padded, and rows of different kinds and
lengths, prompts and single tokens, never see one another.

Shape letters: K states, H width of the LLM, U tokens of a region view, n new positions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import Cache

from lira_plugin.models.interleaved_llm import InterleavedLLM
from lira_plugin.structures import GroundedSpan, GroundedText, Letterbox
from lira_plugin.tokens import SpecialTokenIds


class Phase(Enum):
    """What a row does next."""

    SAMPLING = auto()
    WAITING = auto()
    DONE = auto()


@dataclass(frozen=True)
class Request:
    """One prompt.

    Args:
        embeddings: (n, H) of the prompt, features included and unused object rows left out.
        image: (H, W, 3) uint8 to cut views from, or None for text only.
        letterbox: its geometry.
        image_index: which image of the batch it is.
    """

    embeddings: Tensor
    image: np.ndarray | None
    letterbox: Letterbox | None
    image_index: int


class Token(NamedTuple):
    """A token of an answer, and whether it was put there by the algorithm instead of chosen by the model."""

    id: int
    forced: bool


@dataclass
class Row:
    """State of one answer."""

    request: Request
    slot: int
    feed: Tensor
    phase: Phase = Phase.SAMPLING
    tokens: list[Token] = field(default_factory=list)
    seg_states: list[tuple[int, Tensor]] = field(default_factory=list)
    """(place in ``tokens``, (H,) state) of each ``<seg>`` fed so far."""
    masks: dict[int, Tensor] = field(default_factory=dict)
    """Mask logits at original resolution by place in ``tokens``."""
    sampled: int = 0
    finished: bool = False


class Grounder(Protocol):
    """What generation asks of the model beside its LLM."""

    llm: InterleavedLLM

    def decode_masks(self, states: Tensor, image_index: Tensor) -> Tensor:
        """(K, H) states of ``<seg>`` to (K, h, w) mask logits of the images numbered ``image_index``."""

    def encode_views(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Tensor:
        """Images with their region masks to (K, U, H) region tokens."""


class RowCache(Cache):
    """A KV cache whose rows have lengths of their own; a forward pass may touch any subset of them."""

    def __init__(self, num_rows: int) -> None:
        super().__init__()
        self.lengths = [0] * num_rows
        self.stores: list[list[Tensor]] = []

    def begin(self, slots: Sequence[int], new: int, device: torch.device) -> None:
        """Announce a forward pass of ``new`` positions for the rows in ``slots``."""
        self.slots = torch.tensor(slots, device=device)[:, None]
        starts = torch.tensor([self.lengths[slot] for slot in slots], device=device)
        self.columns = starts[:, None] + torch.arange(new, device=device)
        self.limit = int(self.columns.max()) + 1

    def visible(self, dtype: torch.dtype) -> Tensor:
        """Additive causal mask of the pass announced, (rows, 1, new, limit)."""
        keys = torch.arange(self.limit, device=self.columns.device)
        hidden = keys > self.columns[:, None, :, None]
        return torch.zeros(hidden.shape, dtype=dtype, device=keys.device).masked_fill_(hidden, torch.finfo(dtype).min)

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, cache_kwargs=None):  # noqa: D102
        if layer_idx == len(self.stores):
            self.stores.append([key_states.new_zeros(0), value_states.new_zeros(0)])
        stores = self.stores[layer_idx]
        for index, states in enumerate((key_states, value_states)):
            stores[index] = self._with_room(stores[index], states)
            stores[index][self.slots, :, self.columns] = states.transpose(1, 2)
        rows = self.slots[:, 0]
        return stores[0][rows, :, : self.limit], stores[1][rows, :, : self.limit]

    def get_seq_length(self, layer_idx: int | None = 0) -> int:  # noqa: D102
        return self.limit

    def get_max_cache_shape(self) -> int | None:  # noqa: D102
        return None

    def _with_room(self, store: Tensor, states: Tensor) -> Tensor:
        if store.dim() == 4 and store.shape[2] >= self.limit:
            return store
        heads, width = states.shape[1], states.shape[3]
        grown = states.new_zeros(len(self.lengths), heads, max(64, int(self.limit * 1.5)), width)
        if store.dim() == 4:
            grown[:, :, : store.shape[2]] = store
        return grown


class InterleavedGenerator:
    """Runs Algorithm 1 greedily for a batch of requests.

    Args:
        grounder: the model.
        ids: special token ids.
        end_id: token that ends an answer.
        forced_ids: tokens forced after a region view, those of `` <p>``.
        decode: from token ids to text.
        max_new_tokens: sampled tokens at most; forced ones and region rows are not counted.
        ilvc: False never lets the model ask for a region view.
        batch_size: rows that run at the same time; further requests wait for a free place.
    """

    def __init__(
        self,
        grounder: Grounder,
        ids: SpecialTokenIds,
        end_id: int,
        forced_ids: Sequence[int],
        decode: Callable[[list[int]], str],
        max_new_tokens: int = 100,
        ilvc: bool = True,
        batch_size: int = 32,
    ) -> None:
        if max_new_tokens < 1 or batch_size < 1:
            raise ValueError(f"max_new_tokens and batch_size must be positive, got {max_new_tokens} and {batch_size}")
        self.grounder, self.ids, self.end_id = grounder, ids, end_id
        self.forced_ids, self.decode = list(forced_ids), decode
        self.max_new_tokens, self.ilvc, self.batch_size = max_new_tokens, ilvc, batch_size

    @torch.no_grad()
    def __call__(self, requests: Sequence[Request]) -> list[GroundedText]:
        """Answer all requests, in their order."""
        cache = RowCache(min(self.batch_size, max(len(requests), 1)))
        queue = list(reversed(requests))
        free = list(range(len(cache.lengths)))
        rows, active = [], []
        while queue or active:
            while queue and free:
                request, slot = queue.pop(), free.pop()
                cache.lengths[slot] = 0
                rows.append(Row(request, slot, request.embeddings))
                active.append(rows[-1])
            ready = [row for row in active if row.phase is Phase.SAMPLING]
            waiting = [row for row in active if row.phase is Phase.WAITING]
            if waiting and len(waiting) >= len(ready):
                self._serve(waiting)
                ready = [row for row in active if row.phase is Phase.SAMPLING]
            for group in _by_length(ready):
                self._step(group, cache)
            free += [row.slot for row in active if row.phase is Phase.DONE]
            active = [row for row in active if row.phase is not Phase.DONE]
        self._decode_masks(rows)
        return [self._answer(row) for row in rows]

    def _step(self, rows: list[Row], cache: RowCache) -> None:
        """Feed what is pending and choose the next token of each row."""
        lengths = [len(row.feed) for row in rows]
        feed = torch.nn.utils.rnn.pad_sequence([row.feed for row in rows], batch_first=True)
        cache.begin([row.slot for row in rows], feed.shape[1], feed.device)
        hidden = self.grounder.llm.hidden_states(
            feed,
            attention_mask=cache.visible(feed.dtype),
            position_ids=cache.columns,
            past_key_values=cache,
            cache_position=torch.arange(cache.limit - feed.shape[1], cache.limit, device=feed.device),
            use_cache=True,
        )
        last = hidden[torch.arange(len(rows), device=hidden.device), torch.tensor(lengths, device=hidden.device) - 1]
        logits = self.grounder.llm.logits(last).float()
        if not self.ilvc:
            logits[:, self.ids.image_id] = -torch.inf
        for row, length, state, token in zip(rows, lengths, last, logits.argmax(-1).tolist()):
            cache.lengths[row.slot] += length
            if row.tokens and row.tokens[-1].id == self.ids.seg:
                row.seg_states.append((len(row.tokens) - 1, state))
            self._advance(row, token)
        self._feed([row for row in rows if row.phase is Phase.SAMPLING])

    def _advance(self, row: Row, token: int) -> None:
        """The transitions of the state machine after ``token`` was chosen."""
        if row.sampled == self.max_new_tokens:  # the last token allowed was a <seg>, fed for its state only
            row.phase = Phase.DONE
            return
        row.sampled += 1
        if token == self.end_id:
            row.phase, row.finished = Phase.DONE, True
            return
        row.tokens.append(Token(token, forced=False))
        at_limit = row.sampled == self.max_new_tokens
        if at_limit and token != self.ids.seg:
            row.phase = Phase.DONE
        elif token == self.ids.image_id and row.request.image is not None:
            row.phase = Phase.WAITING

    def _feed(self, rows: list[Row]) -> None:
        if rows:
            ids = torch.tensor([[row.tokens[-1].id] for row in rows], device=rows[0].feed.device)
            for row, feed in zip(rows, self.grounder.llm.embed(ids)):
                row.feed = feed

    def _serve(self, rows: list[Row]) -> None:
        """Give the waiting rows the view of their last mask: one call of the encoder for all."""
        self._decode_masks(rows)
        images = [row.request.image for row in rows]
        masks = [
            (row.masks[max(row.masks)] > 0).cpu().numpy() if row.masks else np.ones(image.shape[:2], bool)
            for row, image in zip(rows, images)
        ]
        views = self.grounder.encode_views(images, masks)
        device = rows[0].feed.device
        embed = self.grounder.llm.embed(torch.tensor([self.ids.image_id, *self.forced_ids], device=device))
        for row, view in zip(rows, views):
            row.feed = torch.cat([embed[:1], view.to(embed.dtype), embed[1:]])
            row.tokens += [Token(token, forced=True) for token in self.forced_ids]
            row.phase = Phase.SAMPLING

    def _decode_masks(self, rows: Sequence[Row]) -> None:
        """Decode every state that has no mask yet, all in one call."""
        pending = [
            (row, place, state) for row in rows for place, state in row.seg_states
            if place not in row.masks and row.request.letterbox is not None
        ]  # fmt: skip
        if not pending:
            return
        states = torch.stack([state for _, _, state in pending])
        index = torch.tensor([row.request.image_index for row, _, _ in pending], device=states.device)
        for (row, place, _), logits in zip(pending, self.grounder.decode_masks(states, index)):
            row.masks[place] = row.request.letterbox.invert_logits(logits[None])[0]

    def _answer(self, row: Row) -> GroundedText:
        ids = [token.id for token in row.tokens]
        text, places = read_answer(ids, self.ids, self.decode)
        spans = []
        for start, end, before, after in places:
            masks = [row.masks.get(place) for place in (before, after)]
            refined = masks[1] if masks[1] is not None else masks[0]
            if refined is None:
                continue
            mask = (refined > 0).cpu().numpy()
            coarse = None if masks[0] is None else (masks[0] > 0).cpu().numpy()
            score = float(refined.sigmoid()[refined > 0].mean()) if mask.any() else 0.0
            spans.append(GroundedSpan(start, end, text[start:end], mask, coarse, score))
        return GroundedText(text, tuple(spans), self.decode(ids), row.finished)


class PhrasePlace(NamedTuple):
    """A phrase ``text[start:end]`` and the places of the ``<seg>`` tokens before and after it, -1 for none."""

    start: int
    end: int
    before: int
    after: int


def read_answer(
    ids: Sequence[int], special: SpecialTokenIds, decode: Callable[[list[int]], str]
) -> tuple[str, list[PhrasePlace]]:
    """Take an interleaved answer apart: the inverse of the ``ILVC`` transform.

    ``<seg><image_id> <p> phrase </p> <seg>`` and ``<p> phrase </p> <seg>`` become a phrase each; a ``<seg>`` that belongs to no
    phrase (the text ended, or an answer such as ``It is <seg>.``) gives an empty phrase at its place.
    """
    text, found = "", []
    coarse: tuple[int, int] | None = None  # places in ``ids`` and text of a <seg> that may be the next phrase's
    phrase: tuple[int, int] | None = None  # a phrase that may get a <seg> yet
    viewed, pending = False, []

    def take() -> str:
        piece = decode(pending) if pending else ""
        pending.clear()
        return piece

    def close(after: int = -1) -> None:
        nonlocal coarse, phrase
        if phrase is not None:
            found.append(PhrasePlace(*phrase, coarse[0] if coarse else -1, after))
        elif coarse is not None:
            found.append(PhrasePlace(coarse[1], coarse[1], coarse[0], -1))
        coarse = phrase = None

    for place, token in enumerate(ids):
        if token == special.seg:
            piece = take()
            if phrase is not None and not piece.strip():  # the space before the <seg> is not the answer's
                close(place)
                continue
            text += piece
            close()
            coarse = (place, len(text))
        elif token == special.image_id:
            text += take()
            viewed = True
        elif token == special.phrase_start:
            piece = take()
            if phrase is not None or piece.strip():
                close()
            if piece.strip() or not (viewed or coarse):  # else it is the space between <image_id> and <p>
                text += piece
            viewed = False
        elif token == special.phrase_end:
            piece = take().strip()
            phrase = (len(text), len(text) + len(piece))
            text += piece
        else:
            pending.append(token)
    piece = take()
    if piece.strip() or (coarse is None and phrase is None):
        text += piece
    close()
    return text, found


def _by_length(rows: list[Row]) -> list[list[Row]]:
    """Rows that feed one token, and rows that feed more: padding one to the other would waste most of a pass."""
    single = [row for row in rows if len(row.feed) == 1]
    several = [row for row in rows if len(row.feed) > 1]
    return [group for group in (several, single) if group]
