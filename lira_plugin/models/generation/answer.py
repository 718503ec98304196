"""Reading an interleaved answer: the inverse of the ``ILVC`` transform."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lira_plugin.tokens import SpecialTokenIds


class PhrasePlace(NamedTuple):
    """A phrase ``text[start:end]`` and the places of the ``<seg>`` tokens before and after it, -1 for none."""

    start: int
    end: int
    before: int
    after: int


def read_answer(
    ids: Sequence[int],
    special: SpecialTokenIds,
    decode: Callable[[list[int]], str],
    tail: str = "",
    partial: bool = False,
) -> tuple[str, list[PhrasePlace]]:
    """Take an interleaved answer apart.

    ``<seg><image_id> <p> phrase </p> <seg>`` and ``<p> phrase </p> <seg>`` become a phrase each; a ``<seg>`` that belongs to no
    phrase (the text ended, or an answer such as ``It is <seg>.``) gives an empty phrase at its place. A phrase that is still
    open where the answer ends reaches to the end.

    Args:
        ids: tokens of the answer.
        special: special token ids.
        decode: from token ids to text.
        tail: plain text behind the tokens.
        partial: the answer goes on: leave white space at its end out, which may turn out to surround a phrase. What is given
            is then the start of what is given for any longer answer.

    Returns:
        The text without special tokens and the spaces that belong to them, and its phrases in order.
    """
    reader, stretch = _Reader(), []
    for place, token in enumerate(ids):
        if token not in special:
            stretch.append(token)
            continue
        piece = decode(stretch) if stretch else ""
        stretch.clear()
        if token == special.seg:
            reader.seg(piece, place)
        elif token == special.image_id:
            reader.image_id(piece)
        elif token == special.phrase_start:
            reader.phrase_start(piece)
        else:
            reader.phrase_end(piece)
    piece = (decode(stretch) if stretch else "") + tail
    reader.end(piece.rstrip() if partial else piece)
    return reader.text, reader.found


class _Reader:
    """Takes the special tokens of an answer, each with the ``piece`` of text in front of it."""

    def __init__(self) -> None:
        self.text = ""
        self.found: list[PhrasePlace] = []
        self.coarse: tuple[int, int] | None = None
        """Place in the answer and in the text of a ``<seg>`` that may be the next phrase's."""
        self.viewed = False
        """Whether a ``<image_id>`` was the last to come."""
        self.opened: int | None = None
        """Start of a phrase without its end."""
        self.phrase: tuple[int, int] | None = None
        """A phrase that may get a ``<seg>`` yet."""

    def seg(self, piece: str, place: int) -> None:
        if self.phrase is not None and not piece.strip() and len(self.text) == self.phrase[1]:
            self._close(place)
            return
        self._add(piece)
        self._close()
        self.coarse = (place, len(self.text))

    def image_id(self, piece: str) -> None:
        self._add(piece)
        self.viewed = True

    def phrase_start(self, piece: str) -> None:
        if piece.strip() or not (self.viewed or self.coarse) or self.phrase is not None:
            self._add(piece)
        if self.phrase is not None or (self.coarse is not None and len(self.text) > self.coarse[1]):
            self._close()
        self.opened, self.viewed = len(self.text), False

    def phrase_end(self, piece: str) -> None:
        if self.opened is None:  # ends nothing
            self._add(piece)
            return
        self._add(piece.rstrip())
        self.phrase, self.opened = (self.opened, len(self.text)), None

    def end(self, piece: str) -> None:
        if self.opened is not None:
            piece = piece.rstrip()
        if piece.strip() or not (self.viewed or self.coarse or self.phrase):
            self._add(piece)
        self._close()

    def _add(self, piece: str) -> None:
        if self.opened == len(self.text):
            piece = piece.lstrip()
        self.text += piece
        self.viewed &= not piece.strip()

    def _close(self, after: int = -1) -> None:
        """The phrase or the coarse ``<seg>`` at hand gets no more tokens."""
        before, place = self.coarse or (-1, -1)
        if self.phrase is not None:
            self.found.append(PhrasePlace(*self.phrase, before, after))
        elif self.coarse is not None:
            start, end = (place, place) if self.opened is None else (self.opened, len(self.text))
            self.found.append(PhrasePlace(start, end, before, -1))
        self.coarse = self.phrase = self.opened = None
