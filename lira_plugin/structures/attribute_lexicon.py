"""Words that say an attribute: a text file of categories, locations or colours, which a user can edit."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import combinations
from pathlib import Path

from lira_plugin.json_file import read_text
from lira_plugin.structures.attribute_truth import ATTRIBUTE_KINDS, AttributeKind
from lira_plugin.structures.plurals import plurals

_FOLDER = "attribute_lexicons"
_WORD = re.compile(r"[^\W_]+(?: [^\W_]+)*")


@dataclass(frozen=True)
class AttributeLexicon:
    """The words of one kind of attribute.

    Args:
        kind: of the attribute.
        words: value by word, in lower case, with spaces for hyphens; the values are among the words.
        things: words that also name a thing, such as "orange" and "rose" among the colours.
        silent: phrases that have to do with this kind and yet say nothing of it, such as "left hand" and "glass": an expression
            with one neither says a value nor leaves it out.
        axes: values along an axis of the image, from one end to the other, by the name of the axis. They exclude one another; the
            axes ``horizontal`` (from the left) and ``vertical`` (from the top) are those of the image.
        near: pairs of values that are hard to tell apart, in either order: one is no false value of the other.
    """

    kind: AttributeKind
    words: Mapping[str, str]
    things: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    near: frozenset[tuple[str, str]] = frozenset()

    @property
    def values(self) -> tuple[str, ...]:
        """The values, each once, in the order of the file."""
        return tuple(dict.fromkeys(self.words.values()))

    def axis_of(self, value: str) -> str:
        """The name of a value's axis, ``""`` for one without."""
        return next((name for name, values in self.axes.items() if value in values), "")

    def opposites(self, value: str) -> tuple[str, ...]:
        """What a value excludes on its axis: its opposite, or for the middle of the axis all others; nothing without an axis."""
        values = self.axes.get(self.axis_of(value), ())
        if not values:
            return ()
        opposite = values[-1 - values.index(value)]
        return tuple(other for other in values if other != value) if opposite == value else (opposite,)

    def exclude(self, first: str, second: str) -> bool:
        """Whether two different values cannot both be true of an object: values of different axes can."""
        return first != second and self.axis_of(first) == self.axis_of(second)


def load_lexicon(kind: AttributeKind, path: str | os.PathLike | None = None) -> AttributeLexicon:
    """Read a lexicon.

    Args:
        kind: of its attributes.
        path: of the file, laid out as :func:`parse_lexicon` says; None takes that of this package.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not of this form; the message names the line.
    """
    if kind not in ATTRIBUTE_KINDS:
        raise ValueError(f"the kind of a lexicon must be one of {', '.join(ATTRIBUTE_KINDS)}, got {kind!r}")
    return _packaged(kind) if path is None else parse_lexicon(kind, read_text(path), str(path))


def load_lexicons(paths: Iterable[str | os.PathLike] = ()) -> dict[AttributeKind, AttributeLexicon]:
    """The lexicon of every kind: of this package, but for those that a path gives.

    Args:
        paths: files called ``category.txt``, ``location.txt`` or ``color.txt``, or folders with such.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file has another name, a folder has none of them, or a file is not of the form.
    """
    given: dict[AttributeKind, Path] = {}
    for path in map(Path, paths):
        files = [path / f"{kind}.txt" for kind in ATTRIBUTE_KINDS] if path.is_dir() else [path]
        found = [file for file in files if file.is_file() or not path.is_dir()]
        if not found or any(file.stem not in ATTRIBUTE_KINDS for file in found):
            names = ", ".join(f"{kind}.txt" for kind in ATTRIBUTE_KINDS)
            raise ValueError(f"{path} is no lexicon: a file is called by its kind, one of {names}; rename it")
        given |= {kind: file for kind in ATTRIBUTE_KINDS for file in found if file.stem == kind}
    return {kind: load_lexicon(kind, given.get(kind)) for kind in ATTRIBUTE_KINDS}


@cache
def _packaged(kind: AttributeKind) -> AttributeLexicon:
    file = resources.files(__package__) / _FOLDER / f"{kind}.txt"
    return parse_lexicon(kind, file.read_text(encoding="utf-8"), file.name)


def parse_lexicon(kind: AttributeKind, text: str, path: str) -> AttributeLexicon:
    """The lexicon of a text, in which each line says one thing and ``#`` begins a comment::

        red, crimson, dark red        # a value, and further words that say it
        orange*                       # the word also names a thing
        ! red wine                    # a phrase that says no attribute, but has to do with it
        ~ red, orange                 # values too close to be told apart
        = horizontal: left, right     # values along an axis, from one end to the other

    Plurals of categories are formed and count as well.

    Args:
        kind: of the attributes.
        text: of the file.
        path: for messages.

    Raises:
        ValueError: a line is not of this form, a word has two values, an axis or pair names no value, or there is no value.
    """
    words: dict[str, str] = {}
    things: set[str] = set()
    silent: set[str] = set()
    axes: dict[str, tuple[str, ...]] = {}
    close: list[tuple[str, list[str]]] = []
    for index, line in enumerate(text.splitlines(), 1):
        where, line = f"{path}, line {index}", line.split("#")[0].strip()
        mark = line[:1] if line[:1] in ("!", "~", "=") else ""
        name, _, line = line.removeprefix(mark).rpartition(":") if mark == "=" else ("", "", line.removeprefix(mark))
        entries = [" ".join(entry.lower().replace("-", " ").split()) for entry in line.split(",") if entry.strip()]
        if bad := [entry for entry in entries if not _WORD.fullmatch(entry.removesuffix("*"))]:
            raise ValueError(
                f"{where}: {bad[0]!r} is no word; commas divide words, which hold letters, spaces and hyphens"
            )
        if mark == "!":
            silent.update(entries)
        elif mark == "~":
            close.append((where, entries))
        elif mark == "=":
            axes[name.strip().lower()] = tuple(entries)
            close.append((where, entries))
        else:
            _add(words, things, entries, where)
    if not words:
        raise ValueError(f"{path} has no value; a line is 'red, crimson, dark red', the value first")
    for where, entries in close:
        if unknown := [entry for entry in entries if words.get(entry) != entry]:
            raise ValueError(f"{where}: {unknown[0]!r} is no value; it must stand first in a line of its own")
    if kind == "category":
        forms = {form: value for word, value in words.items() for form in plurals(word) if form not in words}
        words |= forms
    axis_lines = set(axes.values())
    pairs = [
        pair for _, entries in close if tuple(entries) not in axis_lines for pair in combinations(sorted(entries), 2)
    ]
    near = frozenset(pairs + [(second, first) for first, second in pairs])
    return AttributeLexicon(kind, words, frozenset(things), frozenset(silent), axes, near)


def _add(words: dict[str, str], things: set[str], entries: list[str], where: str) -> None:
    """Take a line of a value and its words."""
    for entry in entries:
        word, value = entry.removesuffix("*"), entries[0].removesuffix("*")
        if words.setdefault(word, value) != value:
            raise ValueError(
                f"{where}: {word!r} means {value!r} here and {words[word]!r} in an earlier line; a word has one value: remove "
                "it from one of the lines"
            )
        if entry.endswith("*"):
            things.add(word)
