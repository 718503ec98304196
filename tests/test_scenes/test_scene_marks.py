"""Scenes with fine detail: marks are where they should be and nowhere else, and what is said of them is true."""

import numpy as np
import pytest

from lira_plugin.scenes.scene_language import CATEGORIES
from lira_plugin.scenes.scene_marks import (
    DETAIL_SIZE,
    MARKS,
    PERIOD,
    make_marked_scene,
    named_mark,
    pattern,
    usual_mark,
)
from lira_plugin.structures import region_view, resize_image

NAMES = ("", *MARKS)


@pytest.fixture(scope="module")
def scenes():
    return [make_marked_scene(np.random.default_rng((3, index)), "even") for index in range(25)]


def spectrum(image: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """How strongly a period of four pixels stands in the brightness under a mask: down, across, and along both at once."""
    grey = image.mean(2) * mask
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]] / PERIOD
    waves = {"down": y, "across": x, "up": x + y, "fall": x - y}
    return {name: abs((grey * np.exp(2j * np.pi * wave))[mask].mean()) for name, wave in waves.items()}


def seen_mark(image: np.ndarray, mask: np.ndarray) -> str:
    """The mark by its spectrum: an independent statement of what each looks like."""
    found = spectrum(image, mask)
    down, across, both = (found[key] > 3.5 for key in ("down", "across", "up"))
    return {(1, 0): "stripes", (0, 1): "bars", (1, 1): "dots", (0, 0): "checks" if both else ""}[down, across]


def test_marks_are_in_the_pixels_of_their_objects(scenes):
    for marked in scenes:
        for thing, mark in zip(marked.scene.objects, marked.marks, strict=True):
            assert seen_mark(marked.scene.image, thing.mask) == mark


def test_marks_are_gone_at_a_quarter_of_the_size_and_clear_in_the_view(scenes):
    for marked in scenes:
        image = marked.scene.image
        quarter = resize_image(image, *(side // 4 for side in image.shape[:2]))
        for thing, mark in zip(marked.scene.objects, marked.marks):
            if not mark or thing.full_area > thing.area:
                continue  # an object that another covers has an edge inside
            y, x = (round(value) for value in thing.centre[::-1])
            inner = np.s_[y // 4 - 2 : y // 4 + 3, x // 4 - 2 : x // 4 + 3]
            if thing.category == "ring":
                continue
            assert quarter[inner].astype(float).mean(2).std(ddof=1) < 6
            view = region_view(image, thing.mask, 64)[24:40, 24:40].astype(float).mean(2)
            plain_grain = 5
            assert view.std() > plain_grain


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_does_not_change_the_mean(mark):
    for down in range(PERIOD):
        wave = pattern(mark, 2 * PERIOD, 3 * PERIOD, down, 1)
        blocks = wave.reshape(2, PERIOD, 3, PERIOD).mean((1, 3))
        assert np.abs(blocks).max() < 1e-6 and np.abs(wave).max() <= 1.5


def test_what_is_said_is_true(scenes):
    for marked in scenes:
        things, marks = marked.scene.objects, marked.marks
        first, second = (things[index] for index in marked.pair)
        shapes = [thing.category for thing in things]
        assert first.category == second.category and len(set(shapes)) == len(shapes) - 1
        assert len({thing.colour for thing in things}) == len(things)
        assert marks[marked.pair[0]] != marks[marked.pair[1]]
        for index, sentence in zip(marked.pair, marked.sentences, strict=True):
            expected = f" with {marks[index]}" if marks[index] else ""
            assert sentence == ("" if expected else "plain ") + first.category + expected
        caption = marked.scene.caption
        named = [span.objects for span in caption.spans]
        assert sorted(named) == [(index,) for index in range(len(things))]
        centres = [things[index].centre[0] for (index,) in named]
        assert centres == sorted(centres)
        for span in caption.spans:
            thing, mark = things[span.objects[0]], marks[span.objects[0]]
            words = caption.phrase(span).removeprefix("A ").removeprefix("a ").removeprefix("an ")
            assert words == f"{thing.colour} {thing.category}" + (f" with {mark}" if mark else "")


def test_questions_are_answered_by_the_mark(scenes):
    labels = []
    for marked in scenes:
        for question in marked.questions:
            thing, mark = marked.scene.objects[question.object], marked.marks[question.object]
            asked = named_mark(question.question.rstrip("?"))
            assert f" {thing.colour} {thing.category} with {asked}?" in question.question
            assert question.label == ("yes" if asked == mark else "no")
            assert question.answer.endswith(f": {question.label}.")
            phrase = question.answer[question.start : question.end]
            assert phrase.split(" ", 1)[1] == f"{thing.colour} {thing.category}" + (f" with {mark}" if mark else "")
            labels.append(question.label)
    assert 0.4 < np.mean([label == "yes" for label in labels]) <= 0.5


def test_shape_and_mark_go_together_in_training_alone():
    shares = {}
    for habit in ("usual", "even"):
        found = [make_marked_scene(np.random.default_rng((5, index)), habit, 192) for index in range(120)]
        pairs = [(thing.category, mark) for marked in found for thing, mark in zip(marked.scene.objects, marked.marks)]
        shares[habit] = np.mean([usual_mark(category) == mark for category, mark in pairs])
        for category in CATEGORIES:
            assert {mark for other, mark in pairs if other == category} == set(NAMES)
    assert shares["usual"] > 0.4 and shares["even"] < 0.25


def test_the_same_state_gives_the_same_scene():
    one, other = (make_marked_scene(np.random.default_rng(8), "usual") for _ in range(2))
    assert (one.scene.image == other.scene.image).all()
    assert (one.marks, one.sentences, one.questions) == (other.marks, other.sentences, other.questions)
    assert max(one.scene.image.shape) == DETAIL_SIZE


@pytest.mark.parametrize(("habit", "size"), [("odd", DETAIL_SIZE), ("even", 64)])
def test_bad_settings_are_refused(habit, size):
    with pytest.raises(ValueError, match=repr(habit) if habit == "odd" else str(size)):
        make_marked_scene(np.random.default_rng(0), habit, size)
