"""From the tokens of an answer to its text and spans: the inverse of the ``ILVC`` transform."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from lira_plugin.models.generation.state import AnswerState
from lira_plugin.models.generation.stopping import StopRule
from lira_plugin.structures import GroundedSpan, GroundedText
from lira_plugin.tokens import SpecialTokenIds


class PhraseTokens(NamedTuple):
    """A phrase ``text[start:end]`` and its tokens.

    Args:
        start, end: in the text.
        before, after: indices of the ``<seg>`` tokens before and after it; -1 for none.
        tokens: indices of what follows its ``<p>``, up to and with its ``</p>`` where it is closed; empty without ``<p>``.
    """

    start: int
    end: int
    before: int
    after: int
    tokens: range = range(0)


def read_answer(
    ids: Sequence[int],
    special: SpecialTokenIds,
    decode: Callable[[list[int]], str],
    partial_text: str = "",
    partial: bool = False,
) -> tuple[str, list[PhraseTokens]]:
    """Take an interleaved answer apart.

    ``<seg><image_id> <p> phrase </p> <seg>`` and ``<p> phrase </p> <seg>`` become a phrase each; a ``<seg>`` that belongs to no
    phrase (the text ended, or an answer such as ``It is <seg>.``) gives an empty phrase where it stands. A phrase that is still
    open where the answer ends reaches to the end.

    Args:
        ids: tokens of the answer.
        special: special token ids.
        decode: from token ids to text.
        partial_text: plain text behind the tokens.
        partial: the answer goes on: leave white space at its end out, which may turn out to surround a phrase. What is given
            is then the start of what is given for any longer answer.

    Returns:
        The text without special tokens and the spaces that belong to them, and its phrases in order.
    """
    reader, stretch = _Reader(), []
    for index, token in enumerate(ids):
        if token not in special:
            stretch.append(token)
            continue
        piece = decode(stretch) if stretch else ""
        stretch.clear()
        if token == special.seg:
            reader.seg(piece, index)
        elif token == special.image_id:
            reader.image_id(piece)
        elif token == special.phrase_start:
            reader.phrase_start(piece, index)
        else:
            reader.phrase_end(piece, index)
    piece = (decode(stretch) if stretch else "") + partial_text
    reader.end(piece.rstrip() if partial else piece, len(ids))
    return reader.text, reader.found


class _Reader:
    """Takes the special tokens of an answer, each with the ``piece`` of text in front of it."""

    def __init__(self) -> None:
        self.text = ""
        self.found: list[PhraseTokens] = []
        self.coarse: tuple[int, int] | None = None
        """Index in the answer, and offset in the text, of a ``<seg>`` that may be the next phrase's."""
        self.viewed = False
        """Whether a ``<image_id>`` was the last to come."""
        self.opened: int | None = None
        """Start of a phrase without its end."""
        self.tokens = range(0)
        """Indices of the tokens of a phrase; one without its end reaches to the index at hand."""
        self.phrase: tuple[int, int] | None = None
        """A phrase that may get a ``<seg>`` yet."""

    def seg(self, piece: str, index: int) -> None:
        if self.phrase is not None and not piece.strip() and len(self.text) == self.phrase[1]:
            self._close(index)
            return
        self._add(piece)
        self._close_at(index)
        self.coarse = (index, len(self.text))

    def image_id(self, piece: str) -> None:
        self._add(piece)
        self.viewed = True

    def phrase_start(self, piece: str, index: int) -> None:
        if piece.strip() or not (self.viewed or self.coarse) or self.phrase is not None:
            self._add(piece)
        if self.phrase is not None or (self.coarse is not None and len(self.text) > self.coarse[1]):
            self._close_at(index)
        self.opened, self.viewed = len(self.text), False
        self.tokens = range(index + 1, index + 1)

    def phrase_end(self, piece: str, index: int) -> None:
        if self.opened is None:  # ends nothing
            self._add(piece)
            return
        self._add(piece.rstrip())
        self.phrase, self.opened = (self.opened, len(self.text)), None
        self.tokens = range(self.tokens.start, index + 1)

    def end(self, piece: str, index: int) -> None:
        if self.opened is not None:
            piece = piece.rstrip()
        if piece.strip() or not (self.viewed or self.coarse or self.phrase):
            self._add(piece)
        self._close_at(index)

    def _add(self, piece: str) -> None:
        if self.opened == len(self.text):
            piece = piece.lstrip()
        self.text += piece
        self.viewed &= not piece.strip()

    def _close_at(self, index: int) -> None:
        """What is at hand ends before the token of ``index``, without a ``<seg>`` behind it."""
        if self.opened is not None:
            self.tokens = range(self.tokens.start, index)
        self._close()

    def _close(self, after: int = -1) -> None:
        """The phrase or the coarse ``<seg>`` at hand gets no more tokens."""
        before, offset = self.coarse or (-1, -1)
        if self.phrase is not None:
            self.found.append(PhraseTokens(*self.phrase, before, after, self.tokens))
        elif self.coarse is not None:
            start, end = (offset, offset) if self.opened is None else (self.opened, len(self.text))
            self.found.append(PhraseTokens(start, end, before, -1, self.tokens))
        self.coarse = self.phrase = self.opened = None
        self.tokens = range(0)


class AnswerWriter:
    """Makes a grounded text of what Algorithm 1 knows of an answer.

    Args:
        special: special token ids.
        decode: from token ids to text.
        stop: knows what of an answer that goes on may still be cut off.
    """

    def __init__(self, special: SpecialTokenIds, decode: Callable[[list[int]], str], stop: StopRule) -> None:
        self.special, self.decode, self.stop = special, decode, stop

    def whole(self, state: AnswerState) -> GroundedText:
        """An answer that is done."""
        return self._write(state, state.ids, state.partial_text)

    def so_far(self, state: AnswerState) -> GroundedText:
        """What will not change any more of an answer that goes on: its text is the start of the text of the whole."""
        return self._write(state, *self.stop.stable_text(state), partial=True)

    def _write(self, state: AnswerState, ids: list[int], partial_text: str, partial: bool = False) -> GroundedText:
        text, phrases = read_answer(ids, self.special, self.decode, partial_text, partial)
        spans = (_span(state, text, phrase) for phrase in phrases)
        raw = (self.decode(ids) if ids else "") + partial_text
        return GroundedText(
            text, tuple(span for span in spans if span is not None), raw, state.finished, state.seg_prob
        )


def _span(state: AnswerState, text: str, phrase: PhraseTokens) -> GroundedSpan | None:
    """The span of a phrase; None where no mask is decoded for it."""
    coarse, refined = state.masks.get(phrase.before), state.masks.get(phrase.after)
    best = refined or coarse
    if best is None:
        return None
    return GroundedSpan(
        phrase.start,
        phrase.end,
        text[phrase.start : phrase.end],
        best.mask,
        None if coarse is None else coarse.mask,
        best.score,
        best.logits,
        refined is not None,
        None if coarse is None else coarse.logits,
        phrase_prob=phrase_prob(state.log_probs, phrase.tokens),
        coarse_score=None if coarse is None else coarse.score,
        words=state.seg_words.get(phrase.before if refined is None else phrase.after),
        coarse_words=state.seg_words.get(phrase.before),
    )


def phrase_prob(log_probs: Mapping[int, float], tokens: Sequence[int]) -> float | None:
    """The probability of a phrase: the product of those of its ``tokens``, its ``</p>`` among them.

    It is the probability that the model, had it drawn what follows ``<p>``, would have said this phrase and no other. So those of
    all phrases add up to 1, as a classifier's over its classes. None where there is no token, or one was forced.
    """
    if not tokens or any(index not in log_probs for index in tokens):
        return None
    return math.exp(sum(log_probs[index] for index in tokens))
