"""News of answers that are being written."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

from lira_plugin.models.generation.answer import AnswerWriter
from lira_plugin.models.generation.state import AnswerState
from lira_plugin.structures import GroundedText


@dataclass(frozen=True)
class Progress:
    """News of one answer.

    Args:
        request_index: index of its request.
        piece: text that came to the answer; the pieces of an answer add up to its text.
        answer: the answer so far. A span appears with its coarse mask before its phrase is written (or with its first words,
            where those were guessed) and is refined after it.
        done: whether this is the last news of the answer.
        num_sampled: tokens that the model has sampled so far.
    """

    request_index: int
    piece: str
    answer: GroundedText
    done: bool
    num_sampled: int = 0


class NewsTeller:
    """Tells what is new of answers since it was last told.

    Args:
        writer: makes a grounded text of what is known of an answer.
        pause: seconds between two news of answers that go on.
    """

    def __init__(self, writer: AnswerWriter, pause: float = 0.0) -> None:
        self.writer, self.pause = writer, pause
        self._told: dict[int, GroundedText] = {}
        self._waiting: dict[int, AnswerState] = {}
        self._last = -math.inf

    def due(self, states: Sequence[AnswerState]) -> list[AnswerState]:
        """The answers that something is to be told of, now that some have been written; none before the pause is over."""
        self._waiting |= {state.request_index: state for state in states}
        now = monotonic()
        if now - self._last < self.pause and not any(state.is_done for state in states):
            return []
        due, self._waiting, self._last = list(self._waiting.values()), {}, now
        return due

    def news(self, states: Sequence[AnswerState]) -> Iterator[Progress]:
        """News of those of the answers that have more text or masks, or are done."""
        for state in states:
            before = self._told.pop(state.request_index, GroundedText(""))
            answer = self.writer.whole(state) if state.is_done else self.writer.so_far(state)
            if not state.is_done:
                self._told[state.request_index] = answer
            if state.is_done or len(answer.text) > len(before.text) or _num_masks(answer) > _num_masks(before):
                piece = answer.text[len(before.text) :]
                yield Progress(state.request_index, piece, answer, state.is_done, state.num_sampled)


def _num_masks(answer: GroundedText) -> int:
    return sum((span.coarse_mask is not None) + span.refined for span in answer.spans)
