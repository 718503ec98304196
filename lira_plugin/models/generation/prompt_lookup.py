"""Guesses of how an answer goes on, of which the model checks several in one pass.

This is prompt lookup decoding: what followed the latest words before is likely to follow them again. Answers repeat the words of
their questions, and the frame around each of their phrases, such as `` </p> <seg>``. A guess that is not what the model samples
is dropped, so answers stay the same up to rounding. What is guessed depends on the request alone.

The engine runs without it (:class:`NoLookup`). transformers' ``PromptLookupCandidateGenerator`` knows one sequence and searches
it anew for every token; here each answer of a batch has a memory of its own.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise
from weakref import WeakKeyDictionary

from lira_plugin.models.generation.state import AnswerState

_FIRST_BUDGET = 2
"""Guesses that an answer begins with."""


class NoLookup:
    """Guesses nothing: one token a pass."""

    def propose(self, state: AnswerState) -> list[int]:
        """Tokens that may follow those of the answer: none."""
        return []

    def accept(self, state: AnswerState, tokens: list[int]) -> list[int]:
        """Of the tokens sampled behind the answer and behind each guess, those that hold: the first."""
        return tokens[:1]


class PromptLookup:
    """Guesses what followed the last two tokens in the prompt, or earlier in the answer.

    An answer begins with two guesses a pass. It makes twice as many where the first one was right, and half where it was wrong.

    Args:
        max_tokens: guesses a pass at most.
        blocked_ids: tokens that are never guessed, since the answer ends or waits behind them.
    """

    def __init__(self, max_tokens: int, blocked_ids: Collection[int]) -> None:
        self.max_tokens, self.blocked_ids = max_tokens, frozenset(blocked_ids)
        self._memories: WeakKeyDictionary[AnswerState, _Memory] = WeakKeyDictionary()

    def propose(self, state: AnswerState) -> list[int]:
        """Tokens that may follow those of the answer.

        The token sampled behind the last guess is within the token limit, too. Nothing is guessed where the most probable token
        need not be taken.
        """
        memory = self._memories.get(state)
        if memory is None:
            memory = self._memories[state] = _Memory(state.request.prompt_ids, min(_FIRST_BUDGET, self.max_tokens))
        memory.read(state.ids)
        room = min(self.max_tokens, state.decoding.max_new_tokens - state.num_sampled - 1)
        guesses = memory.continue_from(state.ids, room if state.choose.is_greedy else 0, self.blocked_ids)
        memory.first_guess = guesses[:1]
        return guesses[: memory.budget]

    def accept(self, state: AnswerState, tokens: list[int]) -> list[int]:
        """Of the tokens sampled behind the answer and behind each of ``state.proposed``, those that hold.

        They hold up to the first that differs from the guess; that one, sampled behind right guesses only, holds too.
        """
        if memory := self._memories.get(state):
            memory.judge(tokens[0], self.max_tokens)
        right = 0
        while right < len(state.proposed) and tokens[right] == state.proposed[right]:
            right += 1
        return tokens[: right + 1]


class _Memory:
    """What followed which tokens in one prompt and its answer; the last time counts.

    Args:
        prompt_ids: tokens of the prompt's text.
        budget: guesses a pass.
    """

    def __init__(self, prompt_ids: Sequence[int], budget: int) -> None:
        self.budget, self.first_guess = budget, []
        self.after_token = dict(pairwise(prompt_ids))
        self.after_pair = dict(zip(pairwise(prompt_ids), prompt_ids[2:]))
        self.after_pair_in_answer: dict[tuple[int, int], int] = {}
        self.num_read = 2

    def read(self, ids: Sequence[int]) -> None:
        """Take the new tokens of the answer in."""
        for index in range(self.num_read, len(ids)):
            self.after_pair_in_answer[ids[index - 2], ids[index - 1]] = ids[index]
        self.num_read = max(self.num_read, len(ids))

    def continue_from(self, ids: Sequence[int], count: int, blocked_ids: Collection[int]) -> list[int]:
        """Up to ``count`` tokens that may follow. One token in common is enough for the first guess, the others follow pairs."""
        context, guesses = list(ids[-2:]), []
        while context and len(guesses) < count:
            pair = tuple(context[-2:])
            token = self.after_pair.get(pair, self.after_pair_in_answer.get(pair))
            if token is None and not guesses:
                token = self.after_token.get(context[-1])
            if token is None or token in blocked_ids:
                break
            context.append(token)
            guesses.append(token)
        return guesses

    def judge(self, token: int, max_budget: int) -> None:
        """Compare the first guess, if there was any, with the token that was sampled. It counts even where it was not run."""
        if self.first_guess:
            doubled = min(max(1, 2 * self.budget), max_budget)
            self.budget = doubled if self.first_guess == [token] else self.budget // 2
        self.first_guess = []


def trim_proposals(proposals: Sequence[list[int]]) -> list[list[int]]:
    """Shorten the guesses of answers that share a pass, so that at least half of the positions they add hold a guess.

    All sequences of a pass are padded to the longest.
    """
    counts = [len(tokens) for tokens in proposals]
    lengths = range(1, max(counts, default=0) + 1)
    worth = (length for length in lengths if 2 * sum(min(count, length) for count in counts) >= length * len(counts))
    most = max(worth, default=0)
    return [tokens[:most] for tokens in proposals]
