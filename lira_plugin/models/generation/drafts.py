"""Guesses of how an answer goes on, which the model checks several of in one pass.

This is prompt lookup decoding: what followed the last words before is likely to follow them again. Answers repeat the words of
their questions, and all answers share the frame around their phrases, such as `` </p> <seg>.``. A guess that is not what the
model chooses is dropped, so answers stay the same up to rounding. An answer begins with two guesses. It runs more
where they are right, and fewer where they are wrong, at last none until one would have been right again.

transformers' ``PromptLookupCandidateGenerator`` knows one sequence, and searches it anew for every token; here are the rows of a
batch, which learn from each other.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise

_MOST_PAIRS = 100_000
"""Pairs of tokens that are kept, some 25 MB; with more, all are forgotten, for a model keeps them as long as it lives."""


class PromptLookup:
    """What follows each token, and each pair of tokens, in a prompt; the last time where it differs.

    Args:
        ids: tokens of the prompt's text.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self.single = dict(pairwise(ids))
        self.pair = dict(zip(pairwise(ids), ids[2:]))


class Drafts:
    """Guesses from prompts and from all answers so far."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, int], tuple[int, bool]] = {}
        """What followed a pair of tokens the last time in any answer, and whether it did the time before, too."""

    def learn(self, ids: Sequence[int], token: int) -> None:
        """Note that an answer ``ids`` went on with ``token``."""
        if len(ids) > 1:
            if len(self.seen) >= _MOST_PAIRS:
                self.seen.clear()
            pair = ids[-2], ids[-1]
            self.seen[pair] = token, self.seen.get(pair, (None,))[0] == token

    def guess(
        self, prompt: PromptLookup, ids: Sequence[int], most: int, barred: Collection[int] = frozenset()
    ) -> list[int]:
        """Up to ``most`` tokens that may follow ``ids``, none of them ``barred``: those where an answer ends or waits.

        A single token in common is enough for the first guess, the others follow pairs.
        """
        if not ids:
            return []
        context, guesses = list(ids[-2:]), []
        while len(guesses) < most:
            pair = tuple(context[-2:])
            token = prompt.pair.get(pair)
            if token is None:
                token, settled = self.seen.get(pair, (None, False))
                token = token if settled else None
            if token is None and not guesses:
                token = prompt.single.get(context[-1])
            if token is None or token in barred:
                break
            context.append(token)
            guesses.append(token)
        return guesses


def worthwhile(counts: Sequence[int]) -> int:
    """The most guesses to run in a pass of several rows that have these numbers of them.

    All rows of a pass are as long as the longest. At least half of the positions that are added shall hold a guess.
    """
    lengths = range(1, max(counts, default=0) + 1)
    return max((n for n in lengths if 2 * sum(min(count, n) for count in counts) >= n * len(counts)), default=0)
