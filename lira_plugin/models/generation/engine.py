"""Algorithm 1 (supplement, section 2): text, masks and views in turn, for a batch.

For one request it reads::

    1  sequence <- visual block, question
    2  repeat
    3      hidden <- LLM(new positions of the sequence)
    4      token <- the forced token, or the most probable one; append it
    5      if token is <seg>:       mask <- mask decoder(hidden state of <seg>)
    6      if token is <image_id>:  append view tokens(crop of the image under the mask), " <p>"
    7  until the stop rule holds
    8  return text, masks

:meth:`InterleavedGenerator._run` does this for many requests at a time, and marks the same lines. Each has a slot in one KV cache
with a length of its own, so nothing is padded in it, and prompts, views and single tokens never see one another.

Shape letters: B answers of a pass, K states, H width of the LLM, U tokens of a view, n new positions.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lira_plugin.models.generation.answer import AnswerWriter
from lira_plugin.models.generation.answer_news import NewsTeller, Progress
from lira_plugin.models.generation.compiled_pass import CompiledPass
from lira_plugin.models.generation.decoding import Decoding, TokenChooser, log_probs_of
from lira_plugin.models.generation.image_masks import image_masks
from lira_plugin.models.generation.kv_cache import SlotKVCache
from lira_plugin.models.generation.pass_groups import group_by_length
from lira_plugin.models.generation.prompt_lookup import NoLookup, PromptLookup, trim_proposals
from lira_plugin.models.generation.protocols import DecoderPass, Grounder
from lira_plugin.models.generation.seg_words import NoSegWords, SegPosition, SegWords
from lira_plugin.models.generation.state import AnswerState, Phase, Request
from lira_plugin.models.generation.stopping import StopRule
from lira_plugin.structures import GroundedText
from lira_plugin.tokens import SpecialTokenIds, seg_positions

_PATIENCE = 16
"""Rounds that the first waiting answer waits at most for others: encoding views takes as long as several passes of a token."""
_ROOM = 1 / 4
"""Share of the batch that is to be free before requests join while others are written: they run their prompts in one pass."""


class InterleavedGenerator:
    """Runs Algorithm 1 for any number of requests, ``batch_size`` of them at a time.

    Args:
        grounder: the model.
        special: special token ids.
        end_id: token that ends an answer.
        phrase_opening: tokens forced after a view, those of `` <p>``.
        decode: from token ids to text.
        decoding: settings of requests that have none of their own.
        batch_size: answers that are written at the same time; those that are done make room for the next requests.
        prompt_lookup_num_tokens: tokens guessed and checked in one pass at most (:class:`PromptLookup`); 0 guesses nothing.
        seg_words: looks at the words that may follow each ``<seg>``.

    Raises:
        ValueError: ``batch_size`` is not positive, or ``prompt_lookup_num_tokens`` is negative.
    """

    def __init__(
        self,
        grounder: Grounder,
        special: SpecialTokenIds,
        end_id: int,
        phrase_opening: Sequence[int],
        decode: Callable[[list[int]], str],
        decoding: Decoding | None = None,
        batch_size: int = 32,
        prompt_lookup_num_tokens: int = 0,
        seg_words: NoSegWords | SegWords | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be positive, got {batch_size}")
        if prompt_lookup_num_tokens < 0:
            raise ValueError(f"prompt_lookup_num_tokens must not be negative, got {prompt_lookup_num_tokens}")
        self.grounder, self.special, self.phrase_opening = grounder, special, list(phrase_opening)
        self.decoding, self.batch_size = decoding or Decoding(), batch_size
        self.stop = StopRule(special, end_id, decode)
        self.writer = AnswerWriter(special, decode, self.stop)
        self.seg_words = seg_words or NoSegWords()
        self.lookup: NoLookup | PromptLookup = NoLookup()
        if prompt_lookup_num_tokens:
            self.lookup = PromptLookup(prompt_lookup_num_tokens, blocked_ids=(end_id, special.image_id))

    @cached_property
    def _decoder_pass(self) -> DecoderPass:
        return self.grounder.llm.cached_pass()

    def _new_cache(self) -> SlotKVCache:
        compiled = isinstance(self._decoder_pass, CompiledPass)
        return self._decoder_pass.new_cache(self.batch_size) if compiled else SlotKVCache()

    def __call__(self, requests: Iterable[Request]) -> list[GroundedText]:
        """Answer all requests, in their order."""
        answers = dict(self.answers(requests))
        return [answers[index] for index in range(len(answers))]

    @torch.inference_mode()
    def answers(self, requests: Iterable[Request]) -> Iterator[tuple[int, GroundedText]]:
        """Yield answers once they are done, in groups of at least ``batch_size`` whose last masks are decoded in one call.

        The last group may be smaller. Requests are taken when there is room for them.

        Yields:
            (index of the request, answer).
        """
        done: list[AnswerState] = []
        for touched in self._run(requests):
            done += [state for state in touched if state.is_done]
            if len(done) >= self.batch_size:
                yield from self._finish(done)
                done = []
        yield from self._finish(done)

    @torch.inference_mode()
    def stream(self, requests: Iterable[Request | None], pause: float = 0.0) -> Iterator[Progress]:
        """Answer requests and tell of each piece of text and each mask when it is there.

        Requests may come while others are answered: where the iterator gives None, none is there yet. It is asked again after
        the next pass, and the stream ends where it gives None while nothing is being written.

        Args:
            requests: what is asked.
            pause: seconds between two news of answers that go on, so that the masks of several are decoded together. News of
                an answer that is done come at once, with those of all others.
        """
        teller = NewsTeller(self.writer, pause)
        for touched in self._run(requests):
            wanted = teller.due([state for state in touched if state.is_done or state.request.in_pieces])
            self._decode_masks(wanted)
            yield from teller.news(wanted)

    def _run(self, requests: Iterable[Request | None]) -> Iterator[list[AnswerState]]:
        """Algorithm 1 for a batch; after each round give the answers that it touched. Numbers are those of the module's lines."""
        cache, queue = self._new_cache(), enumerate(requests)
        free_slots, active, rounds_waited = list(range(self.batch_size))[::-1], [], 0
        while True:
            # 1: requests join where there is room, by the prompts of their sequences
            if len(free_slots) >= _ROOM * self.batch_size or all(state.is_waiting for state in active):
                joined = self._admit(queue, free_slots, cache)
                active = sorted([*active, *joined], key=lambda state: state.slot)  # neighbours need not be gathered
            if not active:
                return
            # answers that nobody waits for any more leave
            gone = [state for state in active if state.is_abandoned]
            for state in gone:
                state.abandon()
            active = [state for state in active if state not in gone]
            running = [state for state in active if not state.is_waiting]
            waiting = [state for state in active if state.is_waiting]
            # 6: answers that end with <image_id> get their views, all in one call of the encoder
            rounds_waited = rounds_waited + 1 if waiting else 0
            if waiting and (not running or rounds_waited > _PATIENCE):
                self._append_views(waiting)
                running, rounds_waited = active, 0
            # 3, 4: the LLM runs what is new, and one token follows (or several, where they were guessed right)
            self._propose(running)
            for group in group_by_length([len(state.pending_embeds) for state in running]):
                self._step([running[index] for index in group], cache)
            # 7, 8: the stop rule was asked after each token; whoever is done leaves
            free_slots += [state.slot for state in active + gone if state.is_done]
            active = [state for state in active if not state.is_done]
            yield running + gone

    # --- 1: requests join -----------------------------------------------------------------------------------------------

    def _admit(
        self, queue: Iterator[tuple[int, Request | None]], free_slots: list[int], cache: SlotKVCache
    ) -> list[AnswerState]:
        """Begin the answers of the next requests while there is room."""
        joined: list[AnswerState] = []
        while free_slots:
            index, request = next(queue, (0, None))
            if request is None:
                break
            holding = (slot for slot in free_slots if request.prefix and cache.holds(slot, request.prefix.key))
            slot = next(holding, free_slots[-1])
            free_slots.remove(slot)
            decoding = request.decoding or self.decoding
            choose = TokenChooser(decoding, index if request.draw_index is None else request.draw_index)
            forced = list(request.forced_ids)
            state = AnswerState(request, index, decoding, choose, slot, request.embeddings, forced_tokens=forced)
            joined.append(state)
        self._extend(joined, [self._write_forced(state) for state in joined])
        self._share_prefixes(joined, cache)
        return joined

    def _share_prefixes(self, joined: list[AnswerState], cache: SlotKVCache) -> None:
        """Take the prefix of each prompt from a slot that holds it; where none does and several want it, run it once."""
        taken = {state.slot for state in joined}
        holders = {key: slot for slot, key in cache.prefixes.items() if slot not in taken and cache.lengths[slot]}
        wanting: dict[Any, list[AnswerState]] = {}
        for state in joined:
            prefix = state.request.prefix
            kept = prefix is not None and cache.holds(state.slot, prefix.key)
            cache.begin_slot(state.slot, prefix.key if prefix else None, prefix.length if kept else 0)
            if kept:
                state.skip(prefix.length)
                holders[prefix.key] = state.slot
            elif prefix is not None:
                wanting.setdefault(prefix.key, []).append(state)
        leaders = [states.pop(0) for key, states in wanting.items() if key not in holders and len(states) > 1]
        if leaders:
            self._forward([state.pending_embeds[: state.request.prefix.length] for state in leaders], leaders, cache)
        for state in leaders:
            state.skip(state.request.prefix.length)
            holders[state.request.prefix.key] = state.slot
        for key, states in wanting.items():
            if key in holders and states:
                length = states[0].request.prefix.length
                cache.copy(holders[key], [state.slot for state in states], length)
                for state in states:
                    state.skip(length)

    # --- 3, 4: run and write --------------------------------------------------------------------------------------------

    def _propose(self, states: list[AnswerState]) -> None:
        """Put guesses behind the last tokens of answers, as far as they are worth their positions in the pass."""
        single = [state for state in states if state.wants_sample and len(state.pending_embeds) == 1]
        for state, tokens in zip(single, trim_proposals([self.lookup.propose(state) for state in single])):
            state.proposed = tokens
        self._extend(single, [state.proposed for state in single], ahead=True)

    def _step(self, states: list[AnswerState], cache: SlotKVCache) -> None:
        """Run what is pending, write the next tokens of each answer, and keep the states of ``<seg>`` tokens."""
        hidden = self._forward([state.pending_embeds for state in states], states, cache)
        following, new_segs = [], []
        for state, own_hidden, (tokens, log_probs) in zip(states, hidden, self._sample(states, hidden)):
            num_written, num_wrong = len(state.ids), len(state.proposed)
            if tokens:
                accepted = self.lookup.accept(state, tokens)
                num_wrong -= len(accepted) - 1
                following.append(self._write(state, accepted, log_probs))
            elif state.phase is Phase.CLOSING:
                state.end(state.finished)
                following.append([])
            else:
                following.append(self._write_forced(state))
            num_run = num_written + len(state.proposed) - num_wrong
            for position, index in state.pending_segs:
                if index < min(num_run, len(state.ids)):
                    state.seg_states[index] = own_hidden[position].clone()  # a view would keep a whole prompt's alive
                    behind = len(state.pending_embeds) - 1 - position
                    new_segs.append(SegPosition(state, index, cache.lengths[state.slot] - behind))
            cache.lengths[state.slot] -= num_wrong
            state.pending_embeds, state.pending_segs, state.proposed = state.pending_embeds[:0], [], []
        self.seg_words.read(new_segs, cache, self._decoder_pass)
        self._extend(states, following)

    def _forward(self, embeds: list[Tensor], states: list[AnswerState], cache: SlotKVCache) -> Tensor:
        """Run (n, H) new positions of each answer; return hidden states (B, longest n, H)."""
        padded = pad_sequence(embeds, batch_first=True)
        cache.begin_pass([state.slot for state in states], padded.shape[1], padded.device)
        hidden = self._decoder_pass(padded, cache)
        for state, own in zip(states, embeds):
            cache.lengths[state.slot] += len(own)
        return hidden

    def _sample(self, states: list[AnswerState], hidden: Tensor) -> list[tuple[list[int], list[float]]]:
        """Sample what follows the last position of each answer that goes on, and what follows each of its guesses.

        Returns:
            Tokens of each answer, and the log of the probability of each.
        """
        positions = [
            (index, len(state.pending_embeds) - 1 - behind)
            for index, state in enumerate(states)
            if state.wants_sample
            for behind in range(len(state.proposed), -1, -1)
        ]
        sampled: list[tuple[list[int], list[float]]] = [([], []) for _ in states]
        if not positions:
            return sampled
        rows, columns = torch.tensor(positions, device=hidden.device).T
        scores = self.grounder.llm.logits(hidden[rows, columns])
        without_ilvc = [row for row, (index, _) in enumerate(positions) if not states[index].decoding.ilvc]
        if without_ilvc:
            scores[without_ilvc, self.special.image_id] = -torch.inf
        tokens, seen = scores.argmax(-1), set()
        for row, (index, _) in enumerate(positions):
            state, own_scores = states[index], scores[row]
            if not state.ids and index not in seen:
                opening = own_scores.float().softmax(-1)[[self.special.seg, self.special.phrase_start]]
                state.seg_prob = float(opening.sum())
            if not state.choose.is_greedy:
                tokens[row] = state.choose(own_scores.float(), state.ids)
            seen.add(index)
        log_probs = log_probs_of(scores, tokens)
        for (index, _), token, log_prob in zip(positions, tokens.tolist(), log_probs.tolist()):
            sampled[index][0].append(token)
            sampled[index][1].append(log_prob)
        return sampled

    def _write(self, state: AnswerState, tokens: list[int], log_probs: list[float]) -> list[int]:
        """Write sampled tokens until the answer is over; return the last one, if it is to be run."""
        for token, log_prob in zip(tokens, log_probs):
            state.log_probs[len(state.ids)] = log_prob
            state.ids.append(token)
            state.num_sampled += 1
            self.stop(state)
            if state.is_done:
                return []
        return [] if self._awaits_view(state) else tokens[-1:]

    def _write_forced(self, state: AnswerState) -> list[int]:
        """Write the forced tokens that can run in the next pass; return them.

        They stop before an ``<image_id>`` that follows others: its view needs the mask of a ``<seg>`` that must run first.
        """
        written: list[int] = []
        while state.forced_tokens and not (written and state.forced_tokens[0] == self.special.image_id):
            written.append(state.forced_tokens.pop(0))
            state.ids.append(written[-1])
            self.stop(state)
            if state.is_done or self._awaits_view(state):
                return []
        return written

    def _awaits_view(self, state: AnswerState) -> bool:
        """Whether the answer ends with an ``<image_id>`` that a view follows; then it waits for it."""
        if state.ids[-1] != self.special.image_id or state.request.image is None or state.phase is Phase.CLOSING:
            return False
        state.phase = Phase.AWAITING_VIEW
        return True

    def _extend(self, states: Sequence[AnswerState], tokens: Sequence[list[int]], ahead: bool = False) -> None:
        """Append the embeddings of ``tokens`` to what each answer runs next.

        They are the last of its ``ids``, or with ``ahead`` guesses that follow them.
        """
        if not any(tokens):
            return
        flat = torch.tensor([token for own in tokens for token in own])
        like = states[0].pending_embeds
        embeds = self.grounder.llm.embed(flat.to(like.device)).to(like.dtype).split([len(own) for own in tokens])
        is_seg = iter(seg_positions(flat, self.special.seg).tolist())
        for state, own, new in zip(states, tokens, embeds):
            first = len(state.ids) - (0 if ahead else len(own))
            end = len(state.pending_embeds)
            state.pending_segs += [(end + offset, first + offset) for offset in range(len(own)) if next(is_seg)]
            state.pending_embeds = torch.cat([state.pending_embeds, new]) if end else new

    # --- 5, 6: masks and views ------------------------------------------------------------------------------------------

    def _decode_masks(self, states: Sequence[AnswerState]) -> None:
        """Decode every ``<seg>`` state that has no mask yet, all in one call."""
        pending = [(state, index) for state in states for index in state.undecoded]
        if not pending:
            return
        owners = [state for state, _ in pending]
        logits = self.grounder.decode_masks(
            torch.stack([state.seg_states[index] for state, index in pending]),
            [state.request.features for state in owners],
        )
        letterboxes, decodings = [state.request.letterbox for state in owners], [state.decoding for state in owners]
        for (state, index), mask in zip(pending, image_masks(logits, letterboxes, decodings)):
            state.masks[index] = mask

    def _append_views(self, states: list[AnswerState]) -> None:
        """Append to each answer the view of its latest mask, and `` <p>``; without a mask the view is of the whole image."""
        self._decode_masks(states)
        images = [state.request.image for state in states]
        masks = [
            state.masks[max(state.masks)].region if state.masks else np.ones(image.shape[:2], bool)
            for state, image in zip(states, images)
        ]
        views = self.grounder.encode_views(images, masks)
        self._extend(states, [state.ids[-1:] for state in states])  # the <image_id> itself
        for state, view in zip(states, views):
            state.pending_embeds = torch.cat([state.pending_embeds, view.to(state.pending_embeds.dtype)])
            state.phase = Phase.SAMPLING
            if not state.forced_tokens and state.decoding.force_phrase:
                state.forced_tokens = list(self.phrase_opening)
        self._extend(states, [self._write_forced(state) for state in states])

    # --- 8: the answer --------------------------------------------------------------------------------------------------

    def _finish(self, states: list[AnswerState]) -> Iterator[tuple[int, GroundedText]]:
        self._decode_masks(states)
        for state in states:
            yield state.request_index, self.writer.whole(state)
