"""Scenes with fine detail: objects whose marks only a close look shows.

A mark is a fine pattern of light and dark with the mean of the plain object. Its period is :data:`PERIOD` pixels, so it is gone
where the image is shown at a quarter of its size, and clear in a view, which has more than twice as many pixels for an object.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np

from lira_plugin.scenes.scene_drawing import ASPECTS, Canvas, Scene, SceneObject, plain_background
from lira_plugin.scenes.scene_language import CATEGORIES, COLOURS, Caption, CaptionSpan, pick, refer, with_article
from lira_plugin.scenes.scene_vqa import Question

MARKS = ("stripes", "bars", "checks", "dots")
"""The mark words; an object without a mark has ``""``."""
PLAIN = "plain"
"""The word for an object without a mark, where a sentence has to say so."""
PERIOD = 4
"""Pixels after which a mark repeats, along both axes."""
DETAIL_SIZE = 384
"""Longer side of a scene with detail: four times that of the tiny LIRA's image."""

Habit = Literal["usual", "even"]
"""How shape and mark go together: each shape mostly has its usual mark, or all marks are equally frequent."""

_USUAL_MARK = dict(zip(CATEGORIES, (*MARKS, *MARKS)))
_SHARES: Mapping[Habit, tuple[float, float, float]] = {"usual": (0.25, 0.55, 0.20), "even": (0.40, 0.15, 0.45)}
"""Of the objects, those without a mark, with their shape's usual mark, and with another one."""
_FURTHER_COUNTS = (0.2, 0.3, 0.3, 0.2)  # of 0, 1, ... objects beside the two of one shape
_RIM = 3
_SHADE = 0.85  # of all objects' brightness, so that marks have room above
_CONTRAST = 0.30  # of a mark, as a share of the brightness
_GRAIN = 14  # largest change of an object's pixel by noise
_SMALL = "small"
_PATTERNS = {
    "stripes": [[1, 1, 1, 1], [1, 1, 1, 1], [-1, -1, -1, -1], [-1, -1, -1, -1]],
    "bars": [[1, 1, -1, -1], [1, 1, -1, -1], [1, 1, -1, -1], [1, 1, -1, -1]],
    "checks": [[1, 1, -1, -1], [1, 1, -1, -1], [-1, -1, 1, 1], [-1, -1, 1, 1]],
    "dots": [[1.5, 1.5, -0.5, -0.5], [1.5, 1.5, -0.5, -0.5], [-0.5, -0.5, -0.5, -0.5], [-0.5, -0.5, -0.5, -0.5]],
}
_PEAK = 1.5


class MarkQuestion(NamedTuple):
    """A question about the mark of one object, and the answer: what is seen, then yes or no."""

    question: str
    answer: str
    start: int
    """Where in the answer the phrase begins that names the object with its mark."""
    end: int
    object: int
    label: str
    """``yes`` or ``no``."""


@dataclass(frozen=True, eq=False)
class MarkedScene:
    """A scene with detail.

    Args:
        scene: image and objects; its sentences and questions say nothing of marks, its caption names the mark of each object.
        marks: of each object one of :data:`MARKS`, or ``""``.
        pair: the two objects of one shape; no other two share a shape, and no two a colour.
        sentences: of each object of the pair the sentence that names its mark, which the other has not.
        questions: about marks, as many with "yes" as with "no", or one more with "no".
    """

    scene: Scene
    marks: tuple[str, ...]
    pair: tuple[int, int]
    sentences: tuple[str, str]
    questions: tuple[MarkQuestion, ...]


def marked_name(colour: str, category: str, mark: str) -> str:
    """Such as ``red circle with dots``; of an object without a mark ``red circle``."""
    return f"{colour} {category} with {mark}" if mark else f"{colour} {category}"


def named_mark(phrase: str) -> str:
    """The mark that a phrase names, ``""`` where it names none or says that the object is plain."""
    return next((word for word in phrase.lower().replace(",", " ").split() if word in MARKS), "")


def usual_mark(category: str) -> str:
    """The mark that most objects of a shape have where shape and mark go together."""
    return _USUAL_MARK[category]


def pattern(mark: str, height: int, width: int, down: int, right: int) -> np.ndarray:
    """(height, width) of a mark, with mean 0 over each period and at most 1.5, moved by some pixels."""
    tile = np.asarray(_PATTERNS[mark], np.float32)
    rows, columns = (np.arange(height) + down) % PERIOD, (np.arange(width) + right) % PERIOD
    return tile[rows[:, None], columns]


def make_marked_scene(rng: np.random.Generator, habit: Habit, size: int = DETAIL_SIZE) -> MarkedScene:
    """Draw a scene with detail: two objects of one shape with different marks, and up to three others, all small.

    Args:
        rng: makes all the choices; the same state gives the same scene.
        habit: how shape and mark go together.
        size: longer side of the image in pixels; the other is as long or three quarters of it.

    Raises:
        ValueError: the habit is unknown, or a small object would be narrower than sixteen periods of a mark.
    """
    if habit not in _SHARES:
        raise ValueError(f"habit must be one of {', '.join(map(repr, _SHARES))}, got {habit!r}")
    if size < DETAIL_SIZE // 2:
        raise ValueError(f"size must be at least {DETAIL_SIZE // 2} pixels for marks of {PERIOD} pixels, got {size}")
    height, width = (round(size * share) for share in ASPECTS[int(rng.random() * len(ASPECTS))])
    canvas, pair = None, ()
    while len(pair) < 2:  # there was no room for one of the two
        canvas = Canvas(plain_background(rng, height, width), _RIM)
        main, words = _choose_words(rng)
        for category, colour in words:
            canvas.put(rng, category, colour, _SMALL, size)
        objects = canvas.objects()
        pair = tuple(index for index, thing in enumerate(objects) if thing.category == main)
    marks = _choose_marks(rng, objects, pair, habit)
    _draw_marks(canvas.image, objects, marks, rng)
    scene = Scene(
        canvas.image,
        objects,
        refer(objects, (height, width), rng),
        _caption(objects, marks),
        _colour_questions(objects, rng),
    )
    sentences = tuple(
        f"{objects[index].category} with {marks[index]}" if marks[index] else f"{PLAIN} {objects[index].category}"
        for index in pair
    )
    return MarkedScene(scene, marks, pair, sentences, _ask_marks(objects, marks, rng))


def _choose_words(rng: np.random.Generator) -> tuple[str, list[tuple[str, str]]]:
    """The shape of the pair, and shape and colour of each object in drawing order."""
    shapes = [CATEGORIES[index] for index in rng.permutation(len(CATEGORIES))]
    colours = [COLOURS[index] for index in rng.permutation(len(COLOURS))]
    further = int(np.searchsorted(np.cumsum(_FURTHER_COUNTS)[:-1], rng.random()))
    words = list(zip([shapes[0], *shapes[: 1 + further]], colours))
    return shapes[0], [words[index] for index in rng.permutation(len(words))]


def _choose_marks(
    rng: np.random.Generator, objects: Sequence[SceneObject], pair: Sequence[int], habit: Habit
) -> tuple[str, ...]:
    """The mark of each object; those of the pair are different."""
    marks = [_choose_mark(rng, thing.category, habit) for thing in objects]
    first, second = pair
    while marks[second] == marks[first]:
        marks[second] = _choose_mark(rng, objects[second].category, habit)
    return tuple(marks)


def _choose_mark(rng: np.random.Generator, category: str, habit: Habit) -> str:
    none, usual, _ = _SHARES[habit]
    draw = rng.random()
    if draw < none:
        return ""
    if draw < none + usual:
        return usual_mark(category)
    return pick(rng, [mark for mark in MARKS if mark != usual_mark(category)])


def _draw_marks(
    image: np.ndarray, objects: Sequence[SceneObject], marks: Sequence[str], rng: np.random.Generator
) -> None:
    """Put marks and grain on the objects; the rim stays as it is."""
    height, width = image.shape[:2]
    for thing, mark in zip(objects, marks):
        down, right = rng.integers(0, PERIOD, 2).tolist()
        x, y, columns, rows = thing.bbox
        window = np.s_[y : y + rows, x : x + columns]
        grain = rng.integers(-_GRAIN, _GRAIN + 1, (rows, columns, 1))
        mask = np.ascontiguousarray(thing.mask[window], np.uint8)
        inner = cv2.erode(mask, None, iterations=_RIM, borderType=cv2.BORDER_CONSTANT, borderValue=0).view(bool)
        base = image[window].astype(np.float32) * _SHADE
        if mark:
            wave = pattern(mark, height, width, down, right)[window][:, :, None] * inner[:, :, None]
            base += wave * np.minimum(base * _CONTRAST, (255 - base) / _PEAK)  # not clipped: that would change the mean
        drawn = (base + grain).clip(0, 255).astype(np.uint8)
        image[window][thing.mask[window]] = drawn[thing.mask[window]]


def _caption(objects: Sequence[SceneObject], marks: Sequence[str]) -> Caption:
    """Names every object from left to right: a mask is asked for before its phrase, so the order must follow from the image."""
    order = sorted(range(len(objects)), key=lambda index: objects[index].centre[0])
    text, spans = "", []
    for position, index in enumerate(order):
        if position:
            text += ", and there is " if index == order[-1] else ", there is "
        else:
            text += "There is "
        name = with_article(marked_name(objects[index].colour, objects[index].category, marks[index]))
        spans.append(CaptionSpan(len(text), len(text) + len(name), (index,)))
        text += name
    return Caption(text + ".", tuple(spans))


def _colour_questions(objects: Sequence[SceneObject], rng: np.random.Generator) -> tuple[Question, ...]:
    """A question for the colour of an object whose shape is the only one of its kind, where there is one."""
    shapes = [thing.category for thing in objects]
    single = [thing for thing in objects if shapes.count(thing.category) == 1]
    if not single:
        return ()
    thing = pick(rng, single)
    return (Question(f"What color is the {thing.category}?", thing.colour, "colour"),)


def _ask_marks(
    objects: Sequence[SceneObject], marks: Sequence[str], rng: np.random.Generator
) -> tuple[MarkQuestion, ...]:
    """Up to two questions with "yes" and as many with "no"; of those with "no" half tempt with the usual mark of the shape."""
    questions = []
    marked = [index for index in rng.permutation(len(objects)).tolist() if marks[index]][:2]
    questions += [_ask(objects, marks, index, marks[index]) for index in marked]
    for index in rng.permutation(len(objects)).tolist()[: max(1, len(marked))]:
        category = objects[index].category
        absent = [mark for mark in MARKS if mark != marks[index]]
        tempting = usual_mark(category)
        asked = tempting if tempting in absent and rng.random() < 0.5 else pick(rng, absent)
        questions.append(_ask(objects, marks, index, asked))
    return tuple(questions[index] for index in rng.permutation(len(questions)))


def _ask(objects: Sequence[SceneObject], marks: Sequence[str], index: int, asked: str) -> MarkQuestion:
    thing, label = objects[index], "yes" if asked == marks[index] else "no"
    phrase, before = marked_name(thing.colour, thing.category, marks[index]), "There is "
    phrase = with_article(phrase)
    question = f"Is there {with_article(marked_name(thing.colour, thing.category, asked))}?"
    return MarkQuestion(question, f"{before}{phrase}: {label}.", len(before), len(before) + len(phrase), index, label)
