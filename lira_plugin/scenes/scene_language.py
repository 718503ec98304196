"""What is said about a scene of shapes: referring sentences and captions.

Everything here follows from words and centres alone. Sizes are absolute words (an object *is* small or large). Places
compare objects that the same words describe and are true of the image as well: "the left circle" is the leftmost one
and in the left half. Relations compare an object with an anchor. Positions only count with a clear margin, so a
sentence that is hard to judge is never said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

T = TypeVar("T")

CATEGORIES = ("circle", "square", "triangle", "star", "cross", "ring")
"""The shapes, in the order of their category ids (from 1)."""
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange", "cyan", "white")
"""The colour words."""
SIZES = ("small", "large")
"""The size words."""

PLACE_MARGIN = 0.12
"""Distance, as a share of the longer side, by which an object must be the outermost to be "the left one"."""
HALF_MARGIN = 0.05
"""Distance from the middle, as a share of the width or height, from which on an object is in the left or upper half."""
RELATION_MARGIN = 0.12
"""Distance, as a share of the longer side, from which on an object is "left of" another."""

SentenceKind = Literal[
    "category", "colour_category", "size_category", "size_colour_category", "colour", "place", "relation"
]
_KIND_WEIGHTS: dict[SentenceKind, float] = {
    "category": 1.0,
    "colour_category": 0.9,
    "size_category": 1.0,
    "size_colour_category": 0.35,
    "colour": 0.7,
    "place": 1.0,
    "relation": 0.8,
}
_DIRECTIONS = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}
_PLACES = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
_RELATIONS = {"left": "left of", "right": "right of", "top": "above", "bottom": "below"}
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


@dataclass(frozen=True, eq=False)
class Thing:
    """What words can say about an object.

    Args:
        category: one of :data:`CATEGORIES`.
        colour: one of :data:`COLOURS`.
        size: one of :data:`SIZES`.
        centre: (x, y) in pixels.
    """

    category: str
    colour: str
    size: str
    centre: tuple[float, float]


@dataclass(frozen=True)
class Sentence:
    """A sentence that is true of exactly one object, and how it singles the object out."""

    text: str
    kind: SentenceKind


@dataclass(frozen=True)
class CaptionSpan:
    """The phrase ``text[start:end]`` of a caption names the objects with these indices."""

    start: int
    end: int
    objects: tuple[int, ...]


@dataclass(frozen=True)
class Caption:
    """A caption; its spans are ordered, do not overlap, and no two of their phrases are the same."""

    text: str
    spans: tuple[CaptionSpan, ...]

    def phrase(self, span: CaptionSpan) -> str:
        """The words of a span."""
        return self.text[span.start : span.end]


def plural(category: str) -> str:
    """The plural of a category or of "object"."""
    return category + ("es" if category.endswith("s") else "s")


def with_article(words: str) -> str:
    """Put "a" or "an" in front."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def matching(things: Sequence[Thing], category: str = "", colour: str = "", size: str = "") -> list[int]:
    """Indices of the things of which all the words given are true."""
    return [
        index
        for index, thing in enumerate(things)
        if (not category or thing.category == category)
        and (not colour or thing.colour == colour)
        and (not size or thing.size == size)
    ]


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Draw one."""
    return options[int(rng.random() * len(options))]


def _stands(direction: str, thing: Thing, anchor: Thing, margin: float) -> bool | None:
    """Whether ``thing`` is on that side of ``anchor``; None where it is not clear."""
    axis, sign = _DIRECTIONS[direction]
    along = sign * (thing.centre[axis] - anchor.centre[axis])
    across = abs(thing.centre[1 - axis] - anchor.centre[1 - axis])
    if along >= margin and along >= across:
        return True
    return False if along <= 0 else None


def _from_middle(thing: Thing, direction: str, shape: tuple[int, int]) -> float:
    """How far from the middle of the image to that side, as a share of its width or height; negative on the other."""
    axis, sign = _DIRECTIONS[direction]
    return sign * (thing.centre[axis] / shape[1 - axis] - 0.5)


def _outermost(things: Sequence[Thing], group: Sequence[int], index: int, shape: tuple[int, int]) -> list[str]:
    """The sides of the image on which ``index`` clearly is, as the outermost of the group."""
    margin = PLACE_MARGIN * max(shape)
    found = []
    for direction, (axis, sign) in _DIRECTIONS.items():
        if _from_middle(things[index], direction, shape) < HALF_MARGIN:
            continue
        mine = sign * things[index].centre[axis]
        if all(mine >= sign * things[other].centre[axis] + margin for other in group if other != index):
            found.append(direction)
    return found


def _place_sentences(things: Sequence[Thing], index: int, shape: tuple[int, int]) -> list[str]:
    thing = things[index]
    found = []
    for colour in ("", thing.colour):
        group = matching(things, thing.category, colour)
        if len(group) < 2:
            continue
        name = f"{colour} {thing.category}".strip()
        for direction in _outermost(things, group, index, shape):
            found += [f"{direction} {name}", f"{name} {_PLACES[direction]}"]
    return found


def _anchors(things: Sequence[Thing], index: int) -> list[str]:
    """How an object can be named by its category, or colour and category, alone."""
    thing = things[index]
    names = [thing.category] if len(matching(things, thing.category)) == 1 else []
    if len(matching(things, thing.category, thing.colour)) == 1:
        names.append(f"{thing.colour} {thing.category}")
    return names


def _relation_sentences(
    things: Sequence[Thing], anchors: Sequence[Sequence[str]], index: int, margin: float
) -> list[str]:
    """Relations to an anchor; where there are any that tell objects of the same name apart, only those."""
    thing = things[index]
    needed, spare = [], []
    for colour in ("", thing.colour):
        group = matching(things, thing.category, colour)
        name = f"{colour} {thing.category}".strip()
        for anchor, names in enumerate(anchors):
            if anchor == index or not names:
                continue
            for direction, words in _RELATIONS.items():
                if not _stands(direction, thing, things[anchor], margin):
                    continue
                others = (other for other in group if other not in (index, anchor))
                if all(_stands(direction, things[other], things[anchor], margin) is False for other in others):
                    found = needed if len(group) > 1 else spare
                    found += [f"{name} {words} the {anchor_name}" for anchor_name in names]
    return needed or spare


def refer(
    things: Sequence[Thing],
    shape: tuple[int, int],
    rng: np.random.Generator,
    wanted: Sequence[SentenceKind] | None = None,
) -> tuple[tuple[Sentence, ...], ...]:
    """Up to three sentences of different kinds for each object, each true of that object only.

    Args:
        things: the objects.
        shape: (height, width) of the image; the longer side scales the margins.
        rng: makes the choices.
        wanted: the kinds of sentences to say; None for all.

    Returns:
        Sentences in the order of the objects; none for an object that no sentence singles out.
    """
    anchors = [_anchors(things, index) for index in range(len(things))]
    result = []
    for index, thing in enumerate(things):
        options: dict[SentenceKind, list[str]] = {}
        if len(matching(things, thing.category)) == 1:
            options["category"] = [thing.category]
        if len(matching(things, thing.category, thing.colour)) == 1:
            options["colour_category"] = [f"{thing.colour} {thing.category}"]
        if len(matching(things, thing.category, size=thing.size)) == 1:
            options["size_category"] = [f"{thing.size} {thing.category}"]
        if len(matching(things, thing.category, thing.colour, thing.size)) == 1:
            options["size_colour_category"] = [f"{thing.size} {thing.colour} {thing.category}"]
        if len(matching(things, colour=thing.colour)) == 1:
            options["colour"] = [f"{thing.colour} object"]
        options["place"] = _place_sentences(things, index, shape)
        options["relation"] = _relation_sentences(things, anchors, index, RELATION_MARGIN * max(shape))
        kinds = [kind for kind, texts in options.items() if texts and (wanted is None or kind in wanted)]
        draws = rng.random(len(kinds)).tolist()  # weighted, without replacement
        ranked = sorted(zip(draws, kinds), key=lambda pair: pair[0] ** (1 / _KIND_WEIGHTS[pair[1]]), reverse=True)
        result.append(tuple(Sentence(pick(rng, options[kind]), kind) for _, kind in ranked[:3]))
    return tuple(result)


def group_sentences(things: Sequence[Thing]) -> list[tuple[str, tuple[int, ...]]]:
    """Sentences that name several objects, each with all the objects it is true of."""
    found = []
    groups = [(plural(category), matching(things, category)) for category in CATEGORIES]
    groups += [(f"{colour} objects", matching(things, colour=colour)) for colour in COLOURS]
    groups += [(f"{size} objects", matching(things, size=size)) for size in SIZES]
    for name, members in groups:
        if len(members) >= 2:
            found.append((f"all {name}", tuple(members)))
        if len(members) == 2:
            found.append((f"both {name}", tuple(members)))
    return found


def absent_name(things: Sequence[Thing], rng: np.random.Generator) -> str:
    """A colour and a category that no object has together; mostly each of the two does occur."""
    present = {(thing.colour, thing.category) for thing in things}
    near = [
        (colour, category)
        for colour in dict.fromkeys(thing.colour for thing in things)
        for category in dict.fromkeys(thing.category for thing in things)
        if (colour, category) not in present
    ]
    if near and rng.random() < 0.7:
        return " ".join(pick(rng, near))
    while True:
        name = (pick(rng, COLOURS), pick(rng, CATEGORIES))
        if name not in present:
            return " ".join(name)


def _entities(
    things: Sequence[Thing], shape: tuple[int, int], rng: np.random.Generator
) -> list[tuple[str, tuple[int, ...]]]:
    """Noun phrases for a caption from left to right, with the objects that each names; no object is named twice.

    A mask is asked for before its phrase is written, so the order must follow from the image.
    """
    entities, named = [], set()
    repeated = [c for c in dict.fromkeys(thing.category for thing in things) if len(matching(things, c)) > 1]
    if repeated and rng.random() < 0.3:
        category = pick(rng, repeated)
        members = tuple(matching(things, category))
        entities.append((f"{_NUMBERS[len(members)]} {plural(category)}", members))
        named.update(members)
    for index, thing in enumerate(things):
        if index in named:
            continue
        group, name = matching(things, thing.category, thing.colour), f"{thing.colour} {thing.category}"
        if len(group) > 1 or rng.random() < 0.6:
            group = matching(things, thing.category, thing.colour, thing.size)
            name = f"{thing.size} {name}"
        if len(group) == 1:
            entities.append((with_article(name), (index,)))
            named.add(index)
            continue
        directions = _outermost(things, group, index, shape)
        if directions:
            entities.append((f"{with_article(name)} {_PLACES[pick(rng, directions)]}", (index,)))
            named.add(index)
        elif named.isdisjoint(group):
            entities.append(
                (f"{_NUMBERS[len(group)]} {thing.size} {thing.colour} {plural(thing.category)}", tuple(group))
            )
            named.update(group)
    return sorted(entities, key=lambda entity: min(things[member].centre[0] for member in entity[1]))


def _absolute_place(things: Sequence[Thing], members: Sequence[int], shape: tuple[int, int]) -> str:
    """Where in the image all of the members are, or "" where no words are clear."""
    for direction, words in _PLACES.items():
        if all(_from_middle(things[member], direction, shape) > 0.17 for member in members):
            return words
    if all(abs(things[m].centre[axis] / shape[1 - axis] - 0.5) < 0.1 for m in members for axis in (0, 1)):
        return "in the center"
    return ""


def describe(things: Sequence[Thing], shape: tuple[int, int], rng: np.random.Generator) -> Caption:
    """A caption of one sentence that names up to four objects or groups of objects, from left to right.

    Args:
        things: the objects.
        shape: (height, width) of the image.
        rng: makes the choices.
    """
    entities = _entities(things, shape, rng)[:4]
    clauses: list[tuple[object, ...]] = []  # strings, and indices of entities
    rest = list(range(len(entities)))
    if len(rest) >= 2:
        pairs = [(a, b) for a in entities[0][1] for b in entities[1][1]]
        margin = RELATION_MARGIN * max(shape)
        for direction, words in _RELATIONS.items():
            if all(_stands(direction, things[a], things[b], margin) for a, b in pairs):
                clauses.append((0, f" {_be(entities[0])} {words} ", 1))
                rest = rest[2:]
                break
    for position in rest:
        entity = entities[position]
        has_place = entity[0].endswith(tuple(_PLACES.values()))
        where = "" if has_place else _absolute_place(things, entity[1], shape)
        clauses.append((position, f" {_be(entity)} {where}") if where else (f"there {_be(entity)} ", position))

    text, spans = "", []
    for index, clause in enumerate(clauses):
        if index:
            text += ", and " if index == len(clauses) - 1 else ", "
        for part in clause:
            words = part if isinstance(part, str) else entities[part][0]
            words = words if text else words[0].upper() + words[1:]
            if not isinstance(part, str):
                spans.append(CaptionSpan(len(text), len(text) + len(words), entities[part][1]))
            text += words
    return Caption(text + ".", tuple(spans))


def _be(entity: tuple[str, tuple[int, ...]]) -> str:
    return "is" if len(entity[1]) == 1 else "are"
