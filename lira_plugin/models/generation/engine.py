"""Algorithm 1: interleaved generation of text, masks and region views over a batch.

All rows share one KV cache in which each has its own length, so nothing is padded, and rows of different kinds and
lengths, prompts and single tokens, never see one another.

Shape letters: K states, H width of the LLM, U tokens of a region view, n new positions.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lira_plugin.models.decoder_pass import HuggingFacePass, LlamaPass
from lira_plugin.models.generation.cache import RowCache
from lira_plugin.models.generation.decoding import Decoding, TokenChooser
from lira_plugin.models.generation.drafts import Drafts, worthwhile
from lira_plugin.models.generation.masks import image_masks
from lira_plugin.models.generation.output import AnswerWriter
from lira_plugin.models.generation.passes import group_by_length
from lira_plugin.models.generation.rows import Phase, Request, Row
from lira_plugin.models.interleaved_llm import InterleavedLLM
from lira_plugin.structures import GroundedText
from lira_plugin.tokens import SpecialTokenIds

_PATIENCE = 16
"""Passes that a row waits at most for all others to wait with it: to encode views takes as long as several passes of a token."""
_ROOM = 1 / 4
"""Share of the batch that is to be free before requests join while others are written: they run their prompts in one pass."""


class Grounder(Protocol):
    """What generation asks of the model beside its LLM."""

    llm: InterleavedLLM

    def decode_masks(self, states: Tensor, features: Sequence[Any]) -> Tensor:
        """(K, H) states of ``<seg>`` to (K, h, w) mask logits of the images that ``features`` name."""

    def encode_views(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Tensor:
        """Images with their region masks to (K, U, H) region tokens."""


@dataclass(frozen=True)
class Progress:
    """News of one answer.

    Args:
        number: place of its request.
        piece: text that came to the answer; the pieces of an answer add up to its text.
        answer: the answer so far. A span appears with its coarse mask before its phrase is written, or with the first words
            where those were guessed, and is refined after it.
        done: whether this is the last news of the answer.
    """

    number: int
    piece: str
    answer: GroundedText
    done: bool


class InterleavedGenerator:
    """Runs Algorithm 1 for any number of requests, ``batch_size`` of them at a time.

    Args:
        grounder: the model.
        ids: special token ids.
        end_id: token that ends an answer.
        forced_ids: tokens forced after a region view, those of `` <p>``.
        decode: from token ids to text.
        decoding: settings of requests that have none of their own.
        batch_size: rows that run at the same time; rows that are done make room for the next requests.
        drafts: guesses that have learnt from earlier answers, and go on to learn from these; by default those that know none.
    """

    def __init__(
        self,
        grounder: Grounder,
        ids: SpecialTokenIds,
        end_id: int,
        forced_ids: Sequence[int],
        decode: Callable[[list[int]], str],
        decoding: Decoding | None = None,
        batch_size: int = 32,
        drafts: Drafts | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be positive, got {batch_size}")
        self.grounder, self.ids, self.end_id = grounder, ids, end_id
        self.forced_ids, self.writer = list(forced_ids), AnswerWriter(ids, decode)
        self.decoding, self.batch_size = decoding or Decoding(), batch_size
        self.drafts = Drafts() if drafts is None else drafts
        self.barred = frozenset((end_id, ids.image_id))

    @cached_property
    def _decoder_pass(self) -> HuggingFacePass | LlamaPass:
        return self.grounder.llm.cached_pass()

    def __call__(self, requests: Iterable[Request]) -> list[GroundedText]:
        """Answer all requests, in their order."""
        answers = dict(self.answers(requests))
        return [answers[number] for number in range(len(answers))]

    @torch.inference_mode()
    def answers(self, requests: Iterable[Request]) -> Iterator[tuple[int, GroundedText]]:
        """Answer requests, those done first first, in groups of ``batch_size`` whose last masks are decoded in one call.

        Requests are taken when there is room for them.

        Yields:
            (place of the request, answer).
        """
        done: list[Row] = []
        for touched in self._run(requests):
            done += [row for row in touched if row.phase is Phase.DONE]
            if len(done) >= self.batch_size:
                yield from self._finish(done)
                done = []
        yield from self._finish(done)

    @torch.inference_mode()
    def stream(self, requests: Iterable[Request]) -> Iterator[Progress]:
        """Answer requests and tell of each piece of text and each mask when it is there."""
        told: dict[int, GroundedText] = {}
        for touched in self._run(requests):
            self._decode_masks(touched)
            for row in touched:
                before, done = told.pop(row.number, GroundedText("")), row.phase is Phase.DONE
                answer = self.writer.whole(row) if done else self.writer.so_far(row)
                if not done:
                    told[row.number] = answer
                if done or len(answer.text) > len(before.text) or _num_masks(answer) > _num_masks(before):
                    yield Progress(row.number, answer.text[len(before.text) :], answer, done)

    def _run(self, requests: Iterable[Request]) -> Iterator[list[Row]]:
        """Run until all is done; after each step give the rows it touched."""
        cache, queue = RowCache(), enumerate(requests)
        free, active, waited = list(range(self.batch_size))[::-1], [], 0
        while True:
            if len(free) >= _ROOM * self.batch_size or not any(row.phase is Phase.SAMPLING for row in active):
                fresh = self._admit(queue, free, cache)
                self._share_prefixes(fresh, cache)
                active = sorted([*active, *fresh], key=lambda row: row.slot)  # neighbours need not be gathered
            if not active:
                return
            ready = [row for row in active if row.phase is Phase.SAMPLING]
            waiting = [row for row in active if row.phase is Phase.WAITING]
            waited = waited + 1 if waiting else 0
            if waiting and (not ready or waited > _PATIENCE):
                self._serve(waiting)
                ready, waited = active, 0
            self._guess(ready)
            for group in group_by_length([len(row.feed) for row in ready]):
                self._step([ready[place] for place in group], cache)
            free += [row.slot for row in active if row.phase is Phase.DONE]
            active = [row for row in active if row.phase is not Phase.DONE]
            yield ready

    def _admit(self, queue: Iterator[tuple[int, Request]], free: list[int], cache: RowCache) -> list[Row]:
        """Make rows of the next requests while there is room."""
        rows = []
        while free:
            number, request = next(queue, (0, None))
            if request is None:
                break
            decoding = request.decoding or self.decoding
            slot = next((slot for slot in free if request.prefix and cache.holds(slot, request.prefix.key)), free[-1])
            free.remove(slot)
            choose = TokenChooser(decoding, number if request.draw is None else request.draw)
            row = Row(request, number, decoding, choose, slot, request.embeddings)
            row.script = list(request.forced_ids)
            rows.append(row)
        self._extend(rows, [row.take_script(self.ids) for row in rows])
        return rows

    def _share_prefixes(self, fresh: list[Row], cache: RowCache) -> None:
        """Take the prefix of each new row from a slot that holds it; where none does and several rows want it, run it once."""
        taken = {row.slot for row in fresh}
        holders = {key: slot for slot, key in cache.prefixes.items() if slot not in taken}
        wanting: dict[Any, list[Row]] = {}
        for row in fresh:
            prefix = row.request.prefix
            kept = prefix is not None and cache.holds(row.slot, prefix.key)
            cache.begin_slot(row.slot, prefix.key if prefix else None, prefix.rows if kept else 0)
            if kept:
                row.skip(prefix.rows)
                holders[prefix.key] = row.slot
            elif prefix is not None:
                wanting.setdefault(prefix.key, []).append(row)
        leaders = [rows.pop(0) for key, rows in wanting.items() if key not in holders and len(rows) > 1]
        if leaders:
            self._forward([row.feed[: row.request.prefix.rows] for row in leaders], leaders, cache)
        for row in leaders:
            row.skip(row.request.prefix.rows)
            holders[row.request.prefix.key] = row.slot
        for key, rows in wanting.items():
            if key in holders and rows:
                length = rows[0].request.prefix.rows
                cache.copy(holders[key], [row.slot for row in rows], length)
                for row in rows:
                    row.skip(length)

    def _forward(self, feeds: list[Tensor], rows: list[Row], cache: RowCache) -> Tensor:
        """Run (n, H) rows of each; return hidden states (rows, longest n, H)."""
        feed = pad_sequence(feeds, batch_first=True)
        cache.begin([row.slot for row in rows], feed.shape[1], feed.device)
        hidden = self._decoder_pass(feed, cache)
        for row, new in zip(rows, feeds):
            cache.lengths[row.slot] += len(new)
        return hidden

    def _guess(self, rows: list[Row]) -> None:
        """Put guesses behind what rows are to run, as many as are worth their positions in all rows of a pass."""
        for row in rows:
            if row.wants_choice:
                row.guess(self.drafts.guess(row.lookup, row.ids, row.room_for_guesses, self.barred))
        together = [row for row in rows if len(row.feed) == 1]
        most = worthwhile([len(row.draft) for row in together])
        for row in together:
            row.draft = row.draft[:most]
        self._extend(rows, [row.draft for row in rows], ahead=True)

    def _step(self, rows: list[Row], cache: RowCache) -> None:
        """Run what is pending, choose the next tokens of each row, and keep the states of ``<seg>`` tokens."""
        hidden = self._forward([row.feed for row in rows], rows, cache)
        pending = []
        for row, states, tokens in zip(rows, hidden, self._choose(rows, hidden)):
            written = len(row.ids)
            following, right = self._follow(row, tokens)
            if tokens:
                row.judge(tokens[0])
            pending.append(following)
            for place_in_feed, place in row.segs:
                if place < min(written + right, len(row.ids)):
                    row.states[place] = states[place_in_feed].clone()  # a view would keep those of a whole prompt alive
            cache.lengths[row.slot] -= len(row.draft) - right
            row.feed, row.segs, row.draft = row.feed[:0], [], []
        self._extend(rows, pending)

    def _follow(self, row: Row, tokens: list[int]) -> tuple[list[int], int]:
        """Go on with the tokens that were chosen behind a row's last positions, as long as they are those guessed.

        Returns:
            The tokens to be run next, and how many guesses were right.
        """
        if not tokens:
            return row.advance(None, self.ids, self.end_id), 0
        for right, token in enumerate(tokens):
            if row.room_for_guesses:
                self.drafts.learn(row.ids, token)
            following = row.advance(token, self.ids, self.end_id)
            self.writer.stop(row)
            if [token] != row.draft[right : right + 1] or row.phase is not Phase.SAMPLING or not row.wants_choice:
                break
        return following, right

    def _choose(self, rows: list[Row], hidden: Tensor) -> list[list[int]]:
        """Choose what follows the last position of each row that is to go on, and each of its guesses."""
        places = [
            (index, len(row.feed) - 1 - behind)
            for index, row in enumerate(rows)
            if row.wants_choice
            for behind in range(len(row.draft), -1, -1)
        ]
        chosen: list[list[int]] = [[] for _ in rows]
        if not places:
            return chosen
        indices, positions = torch.tensor(places, device=hidden.device).T
        scores = self.grounder.llm.logits(hidden[indices, positions])
        blind = [number for number, (index, _) in enumerate(places) if not rows[index].decoding.ilvc]
        if blind:
            scores[blind, self.ids.image_id] = -torch.inf
        for (index, _), own_scores, best in zip(places, scores, scores.argmax(-1).tolist()):
            row = rows[index]
            chosen[index].append(best if row.choose.is_plain else row.choose(own_scores.float(), row.ids))
        return chosen

    def _extend(self, rows: Sequence[Row], tokens: Sequence[list[int]], ahead: bool = False) -> None:
        """Put tokens behind what each row is to run: the last of its ``ids``, or with ``ahead`` those guessed after them."""
        if not any(tokens):
            return
        flat = torch.tensor([token for own in tokens for token in own], device=rows[0].feed.device)
        embeddings = self.grounder.llm.embed(flat).to(rows[0].feed.dtype).split([len(own) for own in tokens])
        for row, own, new in zip(rows, tokens, embeddings):
            start = len(row.ids) - (0 if ahead else len(own))
            row.segs += [(len(row.feed) + n, start + n) for n, token in enumerate(own) if token == self.ids.seg]
            row.feed = torch.cat([row.feed, new]) if len(row.feed) else new

    def _serve(self, rows: list[Row]) -> None:
        """Give the waiting rows the view of their last mask: one call of the encoder for all."""
        self._decode_masks(rows)
        images = [row.request.image for row in rows]
        masks = [
            row.masks[max(row.masks)].region if row.masks else np.ones(image.shape[:2], bool)
            for row, image in zip(rows, images)
        ]
        views = self.grounder.encode_views(images, masks)
        self._extend(rows, [row.ids[-1:] for row in rows])
        for row, view in zip(rows, views):
            row.feed = torch.cat([row.feed, view.to(row.feed.dtype)])
            row.script = row.script or (list(self.forced_ids) if row.decoding.force_phrase else [])
            row.phase = Phase.SAMPLING
        self._extend(rows, [row.take_script(self.ids) for row in rows])

    def _decode_masks(self, rows: Sequence[Row]) -> None:
        """Decode every state that has no mask yet, all in one call."""
        pending = [(row, place) for row in rows for place in row.undecoded]
        if not pending:
            return
        states = torch.stack([row.states[place] for row, place in pending])
        logits = self.grounder.decode_masks(states, [row.request.features for row, _ in pending])
        rows = [row for row, _ in pending]
        masks = image_masks(logits, [row.request.letterbox for row in rows], [row.decoding for row in rows])
        for (row, place), mask in zip(pending, masks):
            row.masks[place] = mask

    def _finish(self, rows: list[Row]) -> Iterator[tuple[int, GroundedText]]:
        self._decode_masks(rows)
        for row in rows:
            yield row.number, self.writer.whole(row)


def _num_masks(answer: GroundedText) -> int:
    return sum((span.coarse_mask is not None) + span.refined for span in answer.spans)
