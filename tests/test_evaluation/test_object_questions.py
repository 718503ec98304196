"""Yes-or-no questions about objects, drawn as POPE does."""

from collections import Counter

import numpy as np
import pytest

from lira_plugin.evaluation.coco_objects import CocoObjects
from lira_plugin.evaluation.object_questions import ABSENT_KINDS, object_questions
from lira_plugin.evaluation.object_words import coco_words

NAMES = ["person", "car", "dog", "cat", "cup", "chair", "bus", "kite"]


@pytest.fixture
def truth():
    rng = np.random.default_rng(3)
    shares = 1 / np.arange(2, 2 + len(NAMES))
    instances = {
        str(image): frozenset(name for name, share in zip(NAMES, shares) if rng.random() < 1.5 * share)
        for image in range(40)
    }
    return CocoObjects(coco_words(), instances, {"1": ["Two kites and a cup."]})


@pytest.mark.parametrize("kind", ABSENT_KINDS)
def test_questions_are_true_paired_and_asked_once(truth, kind):
    ids = list(truth.instances)
    questions = object_questions(truth, ids, kind, per_image=2)
    assert questions == object_questions(truth, ids, kind, per_image=2)
    assert [one.label for one in questions] == ["yes", "no"] * (len(questions) // 2)
    assert len({(one.image_id, one.object) for one in questions}) == len(questions)
    for one in questions:
        assert (one.object in truth.of_image(one.image_id)) == (one.label == "yes"), one
    counts = Counter(one.image_id for one in questions)
    assert all(counts[key] == 2 * min(2, len(names)) for key, names in truth.instances.items())


def test_popular_ones_are_those_that_most_images_show(truth):
    frequency = Counter(name for names in truth.instances.values() for name in names)
    absent = [one for one in object_questions(truth, list(truth.instances), "popular", 1) if one.label == "no"]
    for one in absent:
        others = [name for name in NAMES if name not in truth.of_image(one.image_id)]
        assert frequency[one.object] == max(frequency[name] for name in others)


def test_adversarial_ones_are_seen_most_with_the_object_before(truth):
    questions = object_questions(truth, list(truth.instances), "adversarial", 1)
    for present, absent in zip(questions[::2], questions[1::2]):
        together = {
            name: sum({name, present.object} <= names for names in truth.instances.values())
            for name in NAMES
            if name not in truth.of_image(present.image_id)
        }
        assert together[absent.object] == max(together.values())


def test_an_image_that_shows_everything_asks_nothing():
    truth = CocoObjects(coco_words(), {"1": frozenset({"dog"}), "2": frozenset()})
    assert object_questions(truth, ["1", "2"], "random") == []


def test_what_no_image_shows_is_asked_about_where_it_is_named():
    truth = CocoObjects(coco_words(), {"1": frozenset({"dog"}), "2": frozenset({"cat", "dog"})})
    for kind in ABSENT_KINDS:
        asked = object_questions(truth, ["1", "2"], kind, unseen=["bus", "dog"])
        assert {one.object for one in asked if (one.image_id, one.label) == ("2", "no")} == {"bus"}
    first = object_questions(truth, ["1"], "popular", unseen=["bus"])[1]
    assert first.object == "cat"  # what an image shows is more frequent
