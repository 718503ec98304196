"""Plurals of English words, formed without a package or a download."""

import re

_IRREGULAR = {"person": "people", "mouse": "mice", "goose": "geese", "ox": "oxen", "foot": "feet", "tooth": "teeth"}
_IRREGULAR_ENDS = {"man": "men", "child": "children"}


def plurals(word: str) -> set[str]:
    """The plurals of a word that someone may write, such as ``knives`` and ``buffalos``, ``buffaloes``; never itself."""
    forms = {word + "s"}
    if word in _IRREGULAR:
        forms.add(_IRREGULAR[word])
    for end, plural in _IRREGULAR_ENDS.items():
        if word.endswith(end):
            forms.add(word.removesuffix(end) + plural)
    if re.search(r"(s|x|z|ch|sh|o)$", word):
        forms.add(word + "es")
    if re.search(r"[^aeiou]y$", word):
        forms.add(word[:-1] + "ies")
    if re.search(r"[^f]fe?$", word):
        forms.add(re.sub(r"fe?$", "ves", word))
    return forms - {word}
