"""What is said about a scene of shapes: referring sentences, captions and questions.

Everything here follows from words and centres alone. Sizes are absolute words (an object *is* small or large), places
compare objects that the same words describe, and relations compare an object with an anchor. Positions only count
with a clear margin, so a sentence that is hard to judge is never said.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
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
RELATION_MARGIN = 0.12
"""Distance, as a share of the longer side, from which on an object is "left of" another."""
LIST_MARGIN = 0.03
"""Distance between neighbours, as a share of the longer side, from which on objects are listed from left to right."""

SentenceKind = Literal[
    "category", "colour_category", "size_category", "size_colour_category", "colour", "place", "relation"
]
_KIND_WEIGHTS: dict[SentenceKind, float] = {
    "category": 1.0,
    "colour_category": 0.9,
    "size_category": 1.0,
    "size_colour_category": 0.35,
    "colour": 0.7,
    "place": 0.5,
    "relation": 0.3,
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


@dataclass(frozen=True)
class Question:
    """A question about the scene with its short answer."""

    question: str
    answer: str
    kind: Literal["colour", "count", "presence", "list", "description"]


def plural(category: str) -> str:
    """The plural of a category or of "object"."""
    return category + ("es" if category.endswith("s") else "s")


def with_article(words: str) -> str:
    """Put "a" or "an" in front."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def _matching(things: Sequence[Thing], category: str = "", colour: str = "", size: str = "") -> list[int]:
    return [
        index
        for index, thing in enumerate(things)
        if (not category or thing.category == category)
        and (not colour or thing.colour == colour)
        and (not size or thing.size == size)
    ]


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.random() * len(options))]


def _stands(direction: str, thing: Thing, anchor: Thing, margin: float) -> bool | None:
    """Whether ``thing`` is on that side of ``anchor``; None where it is not clear."""
    axis, sign = _DIRECTIONS[direction]
    along = sign * (thing.centre[axis] - anchor.centre[axis])
    across = abs(thing.centre[1 - axis] - anchor.centre[1 - axis])
    if along >= margin and along >= across:
        return True
    return False if along <= 0 else None


def _outermost(things: Sequence[Thing], group: Sequence[int], index: int, margin: float) -> list[str]:
    """The directions in which ``index`` is clearly the outermost of the group."""
    found = []
    for direction, (axis, sign) in _DIRECTIONS.items():
        mine = sign * things[index].centre[axis]
        if all(mine >= sign * things[other].centre[axis] + margin for other in group if other != index):
            found.append(direction)
    return found


def _place_sentences(things: Sequence[Thing], index: int, margin: float) -> list[str]:
    thing = things[index]
    found = []
    for colour in ("", thing.colour):
        group = _matching(things, thing.category, colour)
        if len(group) < 2:
            continue
        name = f"{colour} {thing.category}".strip()
        for direction in _outermost(things, group, index, margin):
            found += [f"{direction} {name}", f"{name} {_PLACES[direction]}"]
    return found


def _anchors(things: Sequence[Thing], index: int) -> list[str]:
    """How an object can be named by its category, or colour and category, alone."""
    thing = things[index]
    names = [thing.category] if len(_matching(things, thing.category)) == 1 else []
    if len(_matching(things, thing.category, thing.colour)) == 1:
        names.append(f"{thing.colour} {thing.category}")
    return names


def _relation_sentences(
    things: Sequence[Thing], anchors: Sequence[Sequence[str]], index: int, margin: float
) -> list[str]:
    """Relations to an anchor; where there are any that tell objects of the same name apart, only those."""
    thing = things[index]
    needed, spare = [], []
    for colour in ("", thing.colour):
        group = _matching(things, thing.category, colour)
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


def refer(things: Sequence[Thing], side: int, rng: np.random.Generator) -> tuple[tuple[Sentence, ...], ...]:
    """Up to three sentences of different kinds for each object, each true of that object only.

    Args:
        things: the objects.
        side: longer side of the image, which scales the margins.
        rng: makes the choices.

    Returns:
        Sentences in the order of the objects; none for an object that no sentence singles out.
    """
    anchors = [_anchors(things, index) for index in range(len(things))]
    result = []
    for index, thing in enumerate(things):
        options: dict[SentenceKind, list[str]] = {}
        if len(_matching(things, thing.category)) == 1:
            options["category"] = [thing.category]
        if len(_matching(things, thing.category, thing.colour)) == 1:
            options["colour_category"] = [f"{thing.colour} {thing.category}"]
        if len(_matching(things, thing.category, size=thing.size)) == 1:
            options["size_category"] = [f"{thing.size} {thing.category}"]
        if len(_matching(things, thing.category, thing.colour, thing.size)) == 1:
            options["size_colour_category"] = [f"{thing.size} {thing.colour} {thing.category}"]
        if len(_matching(things, colour=thing.colour)) == 1:
            options["colour"] = [f"{thing.colour} object"]
        options["place"] = _place_sentences(things, index, PLACE_MARGIN * side)
        options["relation"] = _relation_sentences(things, anchors, index, RELATION_MARGIN * side)
        kinds = [kind for kind, texts in options.items() if texts]
        draws = rng.random(len(kinds)).tolist()  # weighted, without replacement
        ranked = sorted(zip(draws, kinds), key=lambda pair: pair[0] ** (1 / _KIND_WEIGHTS[pair[1]]), reverse=True)
        result.append(tuple(Sentence(_pick(rng, options[kind]), kind) for _, kind in ranked[:3]))
    return tuple(result)


def group_sentences(things: Sequence[Thing]) -> list[tuple[str, tuple[int, ...]]]:
    """Sentences that name several objects, each with all the objects it is true of."""
    found = []
    groups = [(plural(category), _matching(things, category)) for category in CATEGORIES]
    groups += [(f"{colour} objects", _matching(things, colour=colour)) for colour in COLOURS]
    groups += [(f"{size} objects", _matching(things, size=size)) for size in SIZES]
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
        return " ".join(_pick(rng, near))
    while True:
        name = (_pick(rng, COLOURS), _pick(rng, CATEGORIES))
        if name not in present:
            return " ".join(name)


def _entities(things: Sequence[Thing], side: int, rng: np.random.Generator) -> list[tuple[str, tuple[int, ...]]]:
    """Noun phrases for a caption in random order, with the objects that each names; no object is named twice."""
    entities, named = [], set()
    repeated = [c for c in dict.fromkeys(thing.category for thing in things) if len(_matching(things, c)) > 1]
    if repeated and rng.random() < 0.3:
        category = _pick(rng, repeated)
        members = tuple(_matching(things, category))
        entities.append((f"{_NUMBERS[len(members)]} {plural(category)}", members))
        named.update(members)
    for index, thing in enumerate(things):
        if index in named:
            continue
        group, name = _matching(things, thing.category, thing.colour), f"{thing.colour} {thing.category}"
        if len(group) > 1 or rng.random() < 0.6:
            group = _matching(things, thing.category, thing.colour, thing.size)
            name = f"{thing.size} {name}"
        if len(group) == 1:
            entities.append((with_article(name), (index,)))
            named.add(index)
            continue
        directions = _outermost(things, group, index, PLACE_MARGIN * side)
        if directions:
            entities.append((f"{with_article(name)} {_PLACES[_pick(rng, directions)]}", (index,)))
            named.add(index)
        elif named.isdisjoint(group):
            entities.append(
                (f"{_NUMBERS[len(group)]} {thing.size} {thing.colour} {plural(thing.category)}", tuple(group))
            )
            named.update(group)
    return [entities[position] for position in rng.permutation(len(entities))]


def _absolute_place(things: Sequence[Thing], members: Sequence[int], shape: tuple[int, int]) -> str:
    """Where in the image all of the members are, or "" where no words are clear."""
    for direction, (axis, sign) in _DIRECTIONS.items():
        shares = [things[member].centre[axis] / shape[1 - axis] for member in members]
        if all((share - 0.5) * sign > 0.17 for share in shares):
            return _PLACES[direction]
    if all(abs(things[m].centre[axis] / shape[1 - axis] - 0.5) < 0.1 for m in members for axis in (0, 1)):
        return "in the center"
    return ""


def describe(things: Sequence[Thing], shape: tuple[int, int], rng: np.random.Generator) -> Caption:
    """A caption of one sentence that names up to four objects or groups of objects.

    Args:
        things: the objects.
        shape: (height, width) of the image.
        rng: makes the choices.
    """
    entities = _entities(things, max(shape), rng)[:4]
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
        place = "" if has_place else _absolute_place(things, entity[1], shape)
        clauses.append((position, f" {_be(entity)} {place}") if place else (f"there {_be(entity)} ", position))

    text, spans = "", []
    for number, clause in enumerate(clauses):
        if number:
            text += ", and " if number == len(clauses) - 1 else ", "
        for part in clause:
            words = part if isinstance(part, str) else entities[part][0]
            words = words if text else words[0].upper() + words[1:]
            if not isinstance(part, str):
                spans.append(CaptionSpan(len(text), len(text) + len(words), entities[part][1]))
            text += words
    return Caption(text + ".", tuple(spans))


def _be(entity: tuple[str, tuple[int, ...]]) -> str:
    return "is" if len(entity[1]) == 1 else "are"


def _question_stream(things: Sequence[Thing], rng: np.random.Generator) -> Iterator[Question]:
    while True:
        draw = rng.random()
        if draw < 0.35:
            thing = _pick(rng, things)
            for size in ("", thing.size):
                if len(_matching(things, thing.category, size=size)) == 1:
                    name = f"{size} {thing.category}".strip()
                    yield Question(f"What color is the {name}?", thing.colour, "colour")
                    break
        elif draw < 0.65:
            thing = _pick(rng, things)
            category, colour = (thing.category, "") if rng.random() < 0.7 else ("", thing.colour)
            if category and rng.random() < 0.15:
                category = _pick(rng, CATEGORIES)
            name = plural(category) if category else f"{colour} objects"
            count = len(_matching(things, category, colour))
            yield Question(f"How many {name} are there?", str(count), "count")
        elif rng.random() < 0.5:
            thing = _pick(rng, things)
            yield Question(f"Is there {with_article(f'{thing.colour} {thing.category}')}?", "yes", "presence")
        else:
            yield Question(f"Is there {with_article(absent_name(things, rng))}?", "no", "presence")


def _list(things: Sequence[Thing], margin: float) -> list[Question]:
    """The objects from left to right; no question where their order is hard to judge."""
    ordered = sorted(things, key=lambda thing: thing.centre[0])
    if any(right.centre[0] - left.centre[0] < margin for left, right in pairwise(ordered)):
        return []
    names = ", ".join(f"{thing.size} {thing.colour} {thing.category}" for thing in ordered)
    return [Question("List the objects from left to right.", names, "list")]


def _descriptions(
    things: Sequence[Thing], sentences: Sequence[Sequence[Sentence]], rng: np.random.Generator
) -> list[Question]:
    """A question for what one sentence about each object leaves out of its size, colour and category.

    The answer starts with the words that the sentence has: what is asked for by its category is found by its category.
    """
    questions = []
    for thing, known in zip(things, sentences):
        words = (thing.size, thing.colour, thing.category)
        partial = [sentence.text for sentence in known if not set(words) <= set(sentence.text.split())]
        if partial:
            text = _pick(rng, partial)
            said = [word for word in text.split() if word in words]
            answer = list(dict.fromkeys([*said, *words]))[: len(words)]
            questions.append(Question(f"What is the {text}?", " ".join(answer), "description"))
    return [questions[position] for position in rng.permutation(len(questions))]


def ask(
    things: Sequence[Thing], sentences: Sequence[Sequence[Sentence]], side: int, rng: np.random.Generator
) -> tuple[Question, ...]:
    """One or two different questions about colours, counts and presence, mostly one for a list, and descriptions.

    Args:
        things: the objects.
        sentences: of each object, as :func:`refer` gives them; one of each is asked about.
        side: longer side of the image, which scales the margins.
        rng: makes the choices.
    """
    number = int(rng.integers(1, 3))
    questions: dict[str, Question] = {}
    for question in _question_stream(things, rng):
        questions.setdefault(question.question, question)
        if len(questions) == number:
            break
    return (*_list(things, LIST_MARGIN * side), *_descriptions(things, sentences, rng), *questions.values())
