"""What is given out of a row: its text, and the masks of its phrases."""

from collections.abc import Callable

from lira_plugin.models.generation.answer import PhrasePlace, read_answer
from lira_plugin.models.generation.rows import Row
from lira_plugin.structures import GroundedSpan, GroundedText
from lira_plugin.tokens import SpecialTokenIds


class AnswerWriter:
    """Makes answers of rows.

    Args:
        special: special token ids.
        decode: from token ids to text.
    """

    def __init__(self, special: SpecialTokenIds, decode: Callable[[list[int]], str]) -> None:
        self.special, self.decode = special, decode

    def whole(self, row: Row) -> GroundedText:
        """The answer of a row that is done."""
        return self._write(row, row.ids, row.tail)

    def so_far(self, row: Row) -> GroundedText:
        """What will not change any more of an answer that goes on: its text is the start of the text of the whole.

        A character of which bytes are missing, what may become a stop string, and white space at the end are held back.
        """
        text = self.decode(row.ids)
        stable = len(text.rstrip("\ufffd"))
        stable = min([stable, *(_partial(text[:stable], word) for word in row.decoding.stop_strings)])
        return self._write(row, *self._cut(row.ids, text, stable), partial=True)

    def stop(self, row: Row) -> None:
        """End a row whose answer has come to hold a stop string, in front of the first one.

        What the request forced the answer to begin with is not searched.
        """
        if not row.decoding.stop_strings:
            return
        text = self.decode(row.ids)
        opening = len(self.decode(list(row.request.forced_ids))) if row.request.forced_ids else 0
        places = [text.find(word, max(opening - len(word) + 1, 0)) for word in row.decoding.stop_strings]
        found = [place for place in places if place >= 0]
        if found:
            row.stop(*self._cut(row.ids, text, min(found)))

    def _cut(self, ids: list[int], text: str, length: int) -> tuple[list[int], str]:
        """The tokens in the first ``length`` characters of ``text``, and the characters left over unless a special token's."""
        count, end = len(ids), len(text)
        while end > length:
            count -= 1
            end = len(self.decode(ids[:count])) if count else 0
        broken = count < len(ids) and ids[count] in self.special
        return ids[:count], "" if broken else text[end:length]

    def _write(self, row: Row, ids: list[int], tail: str, partial: bool = False) -> GroundedText:
        text, places = read_answer(ids, self.special, self.decode, tail, partial)
        spans = (_span(row, text, place) for place in places)
        raw = (self.decode(ids) if ids else "") + tail
        return GroundedText(text, tuple(span for span in spans if span is not None), raw, row.finished)


def _partial(text: str, word: str) -> int:
    """Where ``word`` may have begun at the end of ``text``: the length of the text if nowhere."""
    begun = max((size for size in range(1, len(word)) if text.endswith(word[:size])), default=0)
    return len(text) - begun


def _span(row: Row, text: str, place: PhrasePlace) -> GroundedSpan | None:
    """The span of a phrase; None where no mask is decoded for it."""
    coarse, refined = row.masks.get(place.before), row.masks.get(place.after)
    best = refined or coarse
    if best is None:
        return None
    return GroundedSpan(
        place.start,
        place.end,
        text[place.start : place.end],
        best.mask,
        None if coarse is None else coarse.mask,
        best.score,
        best.logits,
        refined is not None,
        None if coarse is None else coarse.logits,
    )
