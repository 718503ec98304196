"""Which font draws which character: the one asked for, DejaVu Sans, or whichever installed font has the character."""

import logging
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log
from PIL import ImageFont

DEFAULT_FONT = str(distribution("matplotlib").locate_file("matplotlib/mpl-data/fonts/ttf/DejaVuSans.ttf"))
"""Comes with matplotlib, which is imported when the first text is drawn.

It has Latin, Greek, Cyrillic, Arabic, Hebrew and more, but no Chinese, Japanese or Korean."""

_BLANKS = str.maketrans("\t\r\v\f\N{NO-BREAK SPACE}", "     ")
_warned: set[str] = set()


class Piece(NamedTuple):
    """Characters that one font draws."""

    text: str
    font: ImageFont.FreeTypeFont


class TextFont:
    """Fonts of one size; each character is drawn by the first that has it.

    Args:
        size: in pixels.
        path: of a TrueType or OpenType font that is asked first, or None.

    Raises:
        OSError: there is no readable font at ``path``.
    """

    def __init__(self, size: int, path: str | None = None) -> None:
        self.size = size
        self._paths = tuple(filter(None, (path, DEFAULT_FONT)))
        self.ascent, descent = _load(self._paths[0], size).getmetrics()
        self.line_height = round((self.ascent + descent) * 1.2)

    def pieces(self, text: str) -> Iterator[Piece]:
        """Cut ``text`` where the font changes; tabs and the like become blanks."""
        text = text.translate(_BLANKS)
        start, current, missing = 0, None, set()
        for index, character in enumerate(text):
            if current is not None and (character == " " or unicodedata.category(character)[0] in "MC"):
                continue  # blanks, accents and joiners stay with what is before them
            path = _find_font(character, self._paths)
            if path is None:
                missing.add(character)
                path = self._paths[0]
            if current is not None and path != current:
                yield Piece(text[start:index], _load(current, self.size))
                start = index
            current = path
        if current is not None:
            yield Piece(text[start:], _load(current, self.size))
        _warn(missing)

    def length(self, text: str) -> float:
        """Width of one line in pixels."""
        return sum(piece.font.getlength(piece.text) for piece in self.pieces(text))


@lru_cache(maxsize=32)
def load_font(size: int, path: str | None = None) -> TextFont:
    """A :class:`TextFont`, made once."""
    return TextFont(size, path)


@lru_cache(maxsize=128)
def _load(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


@lru_cache(maxsize=256)
def _face(path: str) -> Any:
    """The font as matplotlib reads it, None where it cannot be read or cannot be scaled."""
    from matplotlib.ft2font import FT2Font

    try:
        face = FT2Font(path)
        _load(path, 16)
    except (OSError, RuntimeError):
        return None
    return face if face.scalable else None


@lru_cache(maxsize=65536)
def _has(path: str, character: str) -> bool:
    face = _face(path)
    return face is not None and face.get_char_index(ord(character)) != 0


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    """Fonts of the system, plain ones first."""
    from matplotlib.font_manager import findSystemFonts

    paths = sorted({*findSystemFonts(), *findSystemFonts(fontext="otf")})
    return tuple(sorted(paths, key=lambda path: "regular" not in Path(path).stem.lower()))


@lru_cache(maxsize=65536)
def _find_font(character: str, first: tuple[str, ...]) -> str | None:
    return next((path for path in (*first, *_installed()) if _has(path, character)), None)


def _warn(missing: set[str]) -> None:
    """Say once a script that no font has it."""
    scripts = {unicodedata.name(character, "unnamed").split()[0] for character in missing} - _warned
    if scripts:
        _warned.update(scripts)
        shown = "".join(sorted(missing)[:10])
        print_log(
            f"no installed font has {', '.join(sorted(scripts))} characters such as {shown!r}: they are drawn as boxes. "
            "Install one (the Noto fonts have all scripts), or give the path of one as 'font'",
            logger="current",
            level=logging.WARNING,
        )
