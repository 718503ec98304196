"""Values as messages show them."""

import reprlib
from typing import Any

_DIGITS = 40
"""Digits of the largest whole number that is written out."""


class _Shortened(reprlib.Repr):
    """``repr``, shortened: it ends however long or deep a value is."""

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if abs(x) < 10**_DIGITS else f"a whole number of {x.bit_length()} bits"


_SHORTENED = _Shortened()
_SHORTENED.maxlevel, _SHORTENED.maxstring, _SHORTENED.maxother = 3, 120, 80
_SHORTENED.maxlist = _SHORTENED.maxtuple = _SHORTENED.maxdict = 6


def shown(value: Any) -> str:
    """A value for a message: its ``repr``, so that ``'1'`` is not ``1``, cut where it is long or deep."""
    return _SHORTENED.repr(value)
