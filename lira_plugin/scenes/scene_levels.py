"""What is in a scene: all that the generator knows, or an easy part of it, for a model that has only minutes to learn."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from lira_plugin.scenes.scene_language import CATEGORIES, COLOURS, SIZES, SentenceKind

SceneLevel = Literal["full", "easy"]
Words = tuple[str, str, str]
"""Category, colour and size of an object."""

MIN_OBJECTS, MAX_OBJECTS = 2, 6
DIAMETERS = {"small": (0.25, 0.31), "large": (0.40, 0.48)}
"""Range of the diameter for each size word, as a share of the longer side."""
_OBJECT_COUNTS = (0.14, 0.24, 0.28, 0.20, 0.14)  # of 2, 3, ... objects
EASY_MAX_OBJECTS = 3
EASY_CATEGORIES = ("circle", "triangle", "cross")
EASY_COLOURS = ("red", "green", "blue", "yellow")


@dataclass(frozen=True)
class Level:
    """How the scenes of a level differ.

    Args:
        max_objects: of a scene, which has two at least.
        choose_words: draws the words of each object, in drawing order.
        sentences: the kinds that single an object out; None for all.
        diameters: range of the diameter for each size word, as a share of the longer side.
    """

    max_objects: int
    choose_words: Callable[[np.random.Generator], list[Words]]
    sentences: tuple[SentenceKind, ...] | None = None
    diameters: Mapping[str, tuple[float, float]] = field(default_factory=lambda: DIAMETERS)


def _any_words(rng: np.random.Generator) -> list[Words]:
    """Mostly several objects share a category."""
    draws = rng.random((MAX_OBJECTS, 4)).tolist()
    count = MIN_OBJECTS + int(np.searchsorted(np.cumsum(_OBJECT_COUNTS)[:-1], rng.random()))
    repeats = 2 + int(rng.random() * (min(count, 4) - 1)) if rng.random() < 0.9 else 1
    main = int(rng.random() * len(CATEGORIES))
    words: list[Words] = []
    for index in range(count):
        which, hue, copy, extent = draws[index]
        # the others are of other categories
        step = 0 if index < repeats else 1 + int(which * (len(CATEGORIES) - 1))
        colour = COLOURS[int(hue * len(COLOURS))]
        if words and copy < 0.25:
            colour = words[int(hue * len(words))][1]
        words.append((CATEGORIES[(main + step) % len(CATEGORIES)], colour, SIZES[int(extent < 0.42)]))
    return [words[position] for position in rng.permutation(count)]


def _easy_words(rng: np.random.Generator) -> list[Words]:
    """Two or three objects of three shapes, each of another of four colours."""
    count = int(rng.integers(MIN_OBJECTS, EASY_MAX_OBJECTS + 1))
    colours = rng.permutation(EASY_COLOURS)[:count].tolist()
    return [(str(rng.choice(EASY_CATEGORIES)), colour, str(rng.choice(SIZES))) for colour in colours]


LEVELS: dict[SceneLevel, Level] = {
    "full": Level(MAX_OBJECTS, _any_words),
    "easy": Level(
        EASY_MAX_OBJECTS,
        _easy_words,
        ("category", "colour_category", "size_colour_category", "colour"),
        {"small": (0.34, 0.40), "large": (0.50, 0.58)},
    ),
}
