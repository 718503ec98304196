"""When an answer is over: one rule, asked after each token."""

from collections.abc import Callable

from lira_plugin.models.generation.state import AnswerState
from lira_plugin.tokens import SpecialTokenIds


class StopRule:
    """Ends an answer at the first of: the end token, a stop string, the end of a closed answer, the token limit.

    Args:
        special: special token ids.
        end_id: token that ends an answer. It is no part of the answer.
        decode: from token ids to text.
    """

    def __init__(self, special: SpecialTokenIds, end_id: int, decode: Callable[[list[int]], str]) -> None:
        self.special, self.end_id, self.decode = special, end_id, decode

    def __call__(self, state: AnswerState) -> None:
        """Look at an answer whose last token was written just now, and change its phase where it is over."""
        if state.ids[-1] == self.end_id:
            state.ids.pop()
            state.end(finished=True)
        elif (length := self._stop_string(state)) is not None:
            state.cut(*self.cut_text(state.ids, length))
            state.end(finished=True)
        elif state.request.closed and not state.forced_tokens:
            state.close(finished=True)
        elif state.num_sampled >= state.decoding.max_new_tokens:
            if state.ids[-1] == self.special.seg:  # it gets its mask all the same
                state.close(finished=False)
            else:
                state.end(finished=False)

    def stable_text(self, state: AnswerState) -> tuple[list[int], str]:
        """What will not change any more of an answer that goes on: tokens, and characters of the next one.

        A character of which bytes are missing, and what may become a stop string, are held back.
        """
        text = self.decode(state.ids)
        length = len(text.rstrip("\ufffd"))
        length = min([length, *(_possible_start(text[:length], word) for word in state.decoding.stop_strings)])
        return self.cut_text(state.ids, length)

    def cut_text(self, ids: list[int], length: int) -> tuple[list[int], str]:
        """The tokens within the first ``length`` characters, and the characters left over, unless a special token's."""
        text = self.decode(ids)
        count, end = len(ids), len(text)
        while end > length:
            count -= 1
            end = len(self.decode(ids[:count])) if count else 0
        broken = count < len(ids) and ids[count] in self.special
        return ids[:count], "" if broken else text[end:length]

    def _stop_string(self, state: AnswerState) -> int | None:
        """Where the first stop string begins, in characters; None where there is none.

        What the request forced the answer to begin with is not searched.
        """
        if not state.decoding.stop_strings:
            return None
        text = self.decode(state.ids)
        opening = len(self.decode(list(state.request.forced_ids))) if state.request.forced_ids else 0
        starts = [text.find(word, max(opening - len(word) + 1, 0)) for word in state.decoding.stop_strings]
        return min((start for start in starts if start >= 0), default=None)


def _possible_start(text: str, word: str) -> int:
    """Where ``word`` may have begun at the end of ``text``; the length of the text if nowhere."""
    begun = max((size for size in range(1, len(word)) if text.endswith(word[:size])), default=0)
    return len(text) - begun
