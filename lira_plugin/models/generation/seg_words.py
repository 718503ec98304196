"""What an LLM would say at a ``<seg>``: the probabilities of words there.

The engine runs without it (:class:`NoSegWords`). :class:`SegWords` looks at the next-token logits of each ``<seg>`` position, and
where a word takes several tokens runs these behind it, in slots of the cache of its own: the answer stays what it is.

Shape letters: K ``<seg>`` tokens, n tokens of a path, V vocabulary, H width of the LLM.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lira_plugin.models.generation.kv_cache import SlotKVCache
from lira_plugin.models.generation.protocols import DecoderPass, GroundedLLM
from lira_plugin.models.generation.state import AnswerState
from lira_plugin.models.generation.word_tokens import (
    WORD_RULES,
    Tokens,
    WordRule,
    WordSet,
    tokens_to_score,
    word_forms,
    words_by_value,
)
from lira_plugin.settings import WrongSetting
from lira_plugin.tokens import TextEncoder

_TOGETHER = 8
"""``<seg>`` tokens whose sequences are copied for words of several tokens at a time."""

NO_LOG_PROB = -1e30
"""Log of a probability that is 0, or of scores that hold NaN: finite, as JSON wants it."""


class SegPosition(NamedTuple):
    """A ``<seg>`` that was just run.

    Args:
        state: its answer.
        index: its index in the answer.
        length: positions of its sequence up to and with it.
    """

    state: AnswerState
    index: int
    length: int


class NoSegWords:
    """Looks at nothing."""

    def read(self, new_segs: Sequence[SegPosition], cache: SlotKVCache, run: DecoderPass) -> None:
        """Leave the answers as they are."""


class SegWords:
    """Writes the probabilities of words at each ``<seg>`` into its answer (``AnswerState.seg_words``).

    That of a value is the probability that the text goes on with one of its words, or with as much of it as ``rule`` looks at.

    Args:
        llm: the language model.
        tokens: for each kind of attribute the token sequences of each value (:func:`tokens_to_score`).
    """

    def __init__(self, llm: GroundedLLM, tokens: Mapping[str, Mapping[str, Sequence[Tokens]]]) -> None:
        self.llm, self.tokens = llm, tokens
        forms = {form for values in tokens.values() for own in values.values() for form in own}
        steps = sorted({(form[:end], form[end]) for form in forms for end in range(len(form))})
        self.following: dict[Tokens, list[int]] = {}
        """The tokens to look at behind each start of a sequence."""
        for start, token in steps:
            self.following.setdefault(start, []).append(token)
        starts = [start for start in self.following if start]
        self.paths = [start for start in starts if not any(_begins(other, start) for other in starts)]
        """What is to be run: starts that are not part of longer ones."""

    def read(self, new_segs: Sequence[SegPosition], cache: SlotKVCache, run: DecoderPass) -> None:
        """Look at ``<seg>`` tokens whose positions are in the cache.

        Args:
            new_segs: the tokens; their states are in ``AnswerState.seg_states``.
            cache: of the engine.
            run: runs positions behind those in the cache.
        """
        for start in range(0, len(new_segs), _TOGETHER):
            some = new_segs[start : start + _TOGETHER]
            found = self._log_probs(some, cache, run)
            for row, seg in enumerate(some):
                seg.state.seg_words[seg.index] = {
                    kind: {value: _total(forms, found, row) for value, forms in values.items()}
                    for kind, values in self.tokens.items()
                }

    def _log_probs(
        self, new_segs: Sequence[SegPosition], cache: SlotKVCache, run: DecoderPass
    ) -> dict[tuple[Tokens, int], list[float]]:
        """Log probability of each token behind each start, for the K ``<seg>`` tokens."""
        hidden = torch.stack([seg.state.seg_states[seg.index] for seg in new_segs])
        found = self._of_states((), hidden)
        if not self.paths:
            return found
        free = max(cache.lengths) + 1  # of no answer
        slots = [free + offset for offset in range(len(new_segs))]
        for slot, seg in zip(slots, new_segs):
            cache.copy(seg.state.slot, [slot], seg.length)
        for path in self.paths:
            embeds = self.llm.embed(torch.tensor(path, device=hidden.device)).to(hidden.dtype)
            cache.begin_pass(
                slots, len(path), hidden.device
            )  # their lengths stay, so the next path follows the <seg> too
            states = run(embeds.expand(len(new_segs), -1, -1).contiguous(), cache)  # (K, n, H)
            for end in range(1, len(path) + 1):
                if path[:end] in self.following:
                    found |= self._of_states(path[:end], states[:, end - 1])
        for slot in slots:
            del cache.lengths[slot]
        return found

    def _of_states(self, start: Tokens, hidden: Tensor) -> dict[tuple[Tokens, int], list[float]]:
        """Of (K, H) states behind ``start``."""
        log_probs = self.llm.logits(hidden).float().log_softmax(-1)
        tokens = self.following[start]
        return {(start, token): own for token, own in zip(tokens, log_probs[:, tokens].T.tolist())}


def make_seg_words(
    llm: GroundedLLM,
    tokenizer: Any,
    seg_id: int,
    words: Mapping[str, WordSet] | None,
    rule: WordRule,
) -> NoSegWords | SegWords:
    """What looks at the words that are asked for.

    Args:
        llm: the language model.
        tokenizer: its tokenizer.
        seg_id: of ``<seg>``.
        words: for each kind of attribute its :data:`~lira_plugin.models.generation.WordSet`; None looks at nothing.
        rule: see :data:`~lira_plugin.models.generation.word_tokens.WordRule`.

    Raises:
        WrongSetting: the rule is unknown, or words are none.
        ValueError: the tokenizer does not know a word.
    """
    if rule not in WORD_RULES:
        raise WrongSetting(f"seg_word_rule must be one of {list(WORD_RULES)}, got {rule!r}")
    if not words:
        return NoSegWords()
    tokens, encode = {}, TextEncoder(tokenizer)
    for kind, own in words.items():
        values = words_by_value(kind, own)
        forms = {
            value: {form for word in spelt for form in word_forms(encode, seg_id, word)}
            for value, spelt in values.items()
        }
        tokens[kind] = tokens_to_score(forms, rule)
    return SegWords(llm, tokens)


def _begins(other: Tokens, start: Tokens) -> bool:
    """Whether ``other`` goes on behind ``start``."""
    return len(other) > len(start) and other[: len(start)] == start


def _total(forms: Sequence[Tokens], found: Mapping[tuple[Tokens, int], Sequence[float]], row: int) -> float:
    """Log of the sum of the probabilities of token sequences."""
    logs = [sum(found[form[:end], form[end]][row] for end in range(len(form))) for form in forms]
    logs = [value for value in logs if math.isfinite(value)]
    greatest = max(logs, default=NO_LOG_PROB)
    return greatest + math.log(sum(math.exp(value - greatest) for value in logs)) if logs else NO_LOG_PROB
