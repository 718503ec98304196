"""The objects that a caption names: words and double words of a list of synonyms, in the singular or the plural.

Words are looked up in a closed list. So no word of a caption is made singular by a guess: the plurals of the listed words are
formed, which are regular but for a few, and looked up as well. Nothing is downloaded, and "glass" cannot become "glas".
Negation is not treated, nor is the sense of a word: "no dog" names a dog, and "an orange shirt" an orange, as CHAIR counts.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from typing import NamedTuple

from lira_plugin.json_file import read_text
from lira_plugin.structures import plurals

PACKAGED_LIST = "coco_synonyms.txt"
"""A short list for COCO's 80 categories, beside this file."""

DOUBLE_WORDS = (
    *("motor bike", "motor cycle", "air plane", "traffic light", "street light", "traffic signal", "stop light"),
    *("fire hydrant", "stop sign", "parking meter", "suit case", "sports ball", "baseball bat", "baseball glove"),
    *("tennis racket", "wine glass", "hot dog", "cell phone", "mobile phone", "teddy bear", "hair drier"),
    *("potted plant", "bow tie", "laptop computer", "home plate", "train track"),
)
"""Two words that count as one in CHAIR's script; "train track" is no train."""
_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub")
_QUALIFIED = {
    **{f"{word} {animal}": animal for word in ("baby", "adult") for animal in _ANIMALS},
    **{f"passenger {vehicle}": vehicle for vehicle in ("jet", "train")},
    "bow tie": "tie",
    "toilet seat": "toilet",
}
"""Two words that count as the second, or as another word: a baby elephant is no person."""
_LEFT_APART = frozenset({"dining table", "stove top oven"})
"""Entries of the official list whose words its script looks up one by one."""

_TOKEN = re.compile(
    r"\w+?(?=n't\b)|n't\b|'(?:s|m|d|re|ve|ll)\b"  # "isn't" and "man's" are two each
    r"|\d+(?:[.,:]\d+)*(?!\w)"
    r"|\w+(?:[-/.]\w+|'(?!(?:s|m|d|re|ve|ll|t)\b)\w+)*"
    r"|\.{2,}|--|[^\w\s]",
    re.IGNORECASE,
)


class Mention(NamedTuple):
    """An object that a caption names.

    Args:
        word: as the list has it, in the singular.
        object: what the word stands for, the first word of its line.
        start: first character in the caption.
        end: one past the last character.
    """

    word: str
    object: str
    start: int
    end: int


class CaptionWords(NamedTuple):
    """The mentions of a caption in order, and its length: words and punctuation marks, a double word once."""

    mentions: tuple[Mention, ...]
    length: int


class ObjectWords:
    """The words that name objects.

    Args:
        object_of: object by word, both in lower case; a word may be several with single spaces between.
        joined: what words in a row count as, by these words; those of ``object_of`` count as themselves.
        apart: words of ``object_of`` of which each part is looked up by itself.
        unless_beside: words that do not count in a caption which also has the other word: ``{"seat": "toilet"}``.
    """

    def __init__(
        self,
        object_of: Mapping[str, str],
        joined: Mapping[str, str] | None = None,
        apart: Collection[str] = (),
        unless_beside: Mapping[str, str] | None = None,
    ) -> None:
        self.object_of = dict(object_of)
        own = {word: word for word in self.object_of if " " in word and word not in apart}
        self._joined = own | dict(joined or {})
        self._unless_beside = dict(unless_beside or {})
        self._longest = max((phrase.count(" ") + 1 for phrase in self._joined), default=1)
        known = {part for words in (*self.object_of, *self._joined) for part in words.split(" ")}
        self._singular = {plural: word for word in sorted(known) for plural in plurals(word) if plural not in known}

    def look_up(self, caption: str) -> CaptionWords:
        """Find what a caption names, whatever its case."""
        tokens = [(match.group().lower(), match.start(), match.end()) for match in _TOKEN.finditer(caption)]
        words = [(self._singular.get(word, word), start, end) for word, start, end in tokens]
        joined = list(self._join(words))
        present = {word for word, _, _ in joined}
        counted = [entry for entry in joined if self._unless_beside.get(entry[0]) not in present]
        mentions = [
            Mention(word, self.object_of[word], start, end) for word, start, end in counted if word in self.object_of
        ]
        return CaptionWords(tuple(mentions), len(joined))

    def _join(self, words: list[tuple[str, int, int]]) -> Iterator[tuple[str, int, int]]:
        """Put double words together, from left to right, the longest first."""
        index = 0
        while index < len(words):
            word, start, end = words[index]
            taken = 1
            for count in range(min(self._longest, len(words) - index), 1, -1):
                phrase = " ".join(part for part, _, _ in words[index : index + count])
                if phrase in self._joined:
                    word, end, taken = self._joined[phrase], words[index + count - 1][2], count
                    break
            yield word, start, end
            index += taken


def coco_words(path: str | os.PathLike | None = None) -> ObjectWords:
    """Words for COCO's categories, with the double words and exceptions of CHAIR's script.

    Args:
        path: a file in the layout of CHAIR's ``synonyms.txt``: a line for each category with words that mean it, separated by
            commas, its name first. None takes the short list of this package.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has no words, or a word is in two lines, which the message names.
    """
    if path is None:
        return _packaged_words()
    return _with_coco_rules(parse_synonyms(read_text(path), str(path)))


def names_as_words(names: Iterable[str]) -> ObjectWords:
    """Words of categories that no list knows: each is named by its name, in the singular or plural, and by nothing else."""
    return ObjectWords({name: name for name in map(normal_words, names)})


def normal_words(name: str) -> str:
    """A name in lower case, with single spaces inside alone."""
    return " ".join(name.lower().split())


def parse_synonyms(text: str, path: str) -> dict[str, str]:
    """Object by word, of the text of a list of synonyms.

    Raises:
        ValueError: see :func:`coco_words`; ``path`` is for the message.
    """
    object_of: dict[str, str] = {}
    for index, line in enumerate(text.splitlines(), 1):
        words = [word for word in map(normal_words, line.split(",")) if word]
        for word in words:
            if object_of.setdefault(word, words[0]) != words[0]:
                raise ValueError(
                    f"{path}, line {index}: {word!r} means {words[0]!r} here and {object_of[word]!r} in an earlier line; a word "
                    "means one object: remove it from one of the lines"
                )
    if not object_of:
        raise ValueError(f"{path} has no words; a line is 'car, automobile, van', the name of the category first")
    return object_of


def _with_coco_rules(object_of: Mapping[str, str]) -> ObjectWords:
    joined = {word: word for word in DOUBLE_WORDS} | _QUALIFIED
    return ObjectWords(object_of, joined, _LEFT_APART, unless_beside={"seat": "toilet"})


@cache
def _packaged_words() -> ObjectWords:
    text = resources.files(__package__).joinpath(PACKAGED_LIST).read_text(encoding="utf-8")
    return _with_coco_rules(parse_synonyms(text, PACKAGED_LIST))
