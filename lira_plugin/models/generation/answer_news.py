"""News of answers that are being written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    """

    def __init__(self, writer: AnswerWriter) -> None:
        self.writer = writer
        self._told: dict[int, GroundedText] = {}

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
