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
    ids: Sequence[int], special: SpecialTokenIds, decode: Callable[[list[int]], str]
) -> tuple[str, list[PhrasePlace]]:
    """Take an interleaved answer apart: the inverse of the ``ILVC`` transform.

    ``<seg><image_id> <p> phrase </p> <seg>`` and ``<p> phrase </p> <seg>`` become a phrase each; a ``<seg>`` that belongs to no
    phrase (the text ended, or an answer such as ``It is <seg>.``) gives an empty phrase at its place.
    """
    text, found = "", []
    coarse: tuple[int, int] | None = None  # places in ``ids`` and text of a <seg> that may be the next phrase's
    phrase: tuple[int, int] | None = None  # a phrase that may get a <seg> yet
    viewed, pending = False, []

    def take() -> str:
        piece = decode(pending) if pending else ""
        pending.clear()
        return piece

    def close(after: int = -1) -> None:
        nonlocal coarse, phrase
        if phrase is not None:
            found.append(PhrasePlace(*phrase, coarse[0] if coarse else -1, after))
        elif coarse is not None:
            found.append(PhrasePlace(coarse[1], coarse[1], coarse[0], -1))
        coarse = phrase = None

    for place, token in enumerate(ids):
        if token == special.seg:
            piece = take()
            if phrase is not None and not piece.strip():  # the space before the <seg> is not the answer's
                close(place)
                continue
            text += piece
            close()
            coarse = (place, len(text))
        elif token == special.image_id:
            text += take()
            viewed = True
        elif token == special.phrase_start:
            piece = take()
            if phrase is not None or piece.strip():
                close()
            if piece.strip() or not (viewed or coarse):  # else it is the space between <image_id> and <p>
                text += piece
            viewed = False
        elif token == special.phrase_end:
            piece = take().strip()
            phrase = (len(text), len(text) + len(piece))
            text += piece
        else:
            pending.append(token)
    piece = take()
    if piece.strip() or (coarse is None and phrase is None):
        text += piece
    close()
    return text, found
