"""Questions about attributes of scenes: every answer is true of the objects as they were drawn, and no sentence says it."""

import json
import re

import numpy as np
import pytest
from mmengine.config import Config
from support.paths import config_path

from lira_plugin.prepare.attreval import SelectionRule
from lira_plugin.prepare.attreval_files import build_attreval, read_described
from lira_plugin.scenes.scene_attributes import scene_lexicons
from lira_plugin.scenes.scene_drawing import make_scene
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_language import CATEGORIES, COLOURS
from lira_plugin.scenes.scene_records import file_name_of, image_id_of
from lira_plugin.structures import decode_segmentation

NUM_TRAIN, NUM_EVAL, SEED = 40, 8, 5
SPLITS = ("train", "val", "testA", "testB")
SIDES = ("left", "right", "top", "bottom")
QUESTION = re.compile(r"Is the (.+?) (?:in|on the|at the|a|an) (\w+)\? Please answer yes or no\.")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"), NUM_TRAIN, NUM_EVAL, SEED, progress=False)


@pytest.fixture(scope="module")
def scenes():
    """By the names of their images."""
    return {
        file_name_of(image_id_of(split, i)): make_scene(np.random.default_rng((SEED, SPLITS.index(split), i)))
        for split in SPLITS
        for i in range(NUM_TRAIN if split == "train" else NUM_EVAL)
    }


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def described(scene, expression):
    (index,) = [index for index, own in enumerate(scene.sentences) if expression in [sentence.text for sentence in own]]
    return scene.objects[index]


def is_true(thing, value):
    """Whether a value is true of an object, by how it was drawn."""
    if value in COLOURS:
        return thing.colour == value
    if value in CATEGORIES:
        return thing.category == value
    ys, xs = np.nonzero(thing.mask)
    height, width = thing.mask.shape
    x, y = (xs.min() + xs.max() + 1) / 2 / width, (ys.min() + ys.max() + 1) / 2 / height
    return {"left": x < 0.5, "right": x > 0.5, "top": y < 0.5, "bottom": y > 0.5}[value]


def kind_words(value):
    return next(words for words in (COLOURS, CATEGORIES, SIDES) if value in words)


def check(scene, question, answer):
    expression, value = QUESTION.fullmatch(question).groups()
    assert is_true(described(scene, expression), value) == (answer == "yes"), question
    return expression, value


def test_questions_to_learn_from_are_true(files, scenes):
    records = json.loads(files.attributes_train.read_text())
    answers, kinds = [], set()
    for record in records:
        turns = record["conversations"]
        asked = [turn["value"].removeprefix("<image>\n") for turn in turns[::2]]
        given = [turn["value"] for turn in turns[1::2]]
        assert len(asked) <= 6 and turns[0]["value"].startswith("<image>\n")
        said = [check(scenes[record["image"]], *pair) for pair in zip(asked, given)]
        assert len({(text, kind_words(value)) for text, value in said}) == len(said), "no answer tells another"
        answers += given
        kinds |= {kind_words(value) for _, value in said}
    assert len(records) > 0.8 * NUM_TRAIN and kinds == {COLOURS, CATEGORIES, SIDES}
    assert 0.35 < answers.count("yes") / len(answers) < 0.65


def test_pairs_of_the_test_are_one_true_and_one_false(files, scenes):
    asked = lines(files.attreval / "attreval_vqa.jsonl")
    assert len(asked) > 40
    for true, false in zip(asked[::2], asked[1::2], strict=True):
        assert (true["answer"], false["answer"], true["image"]) == ("yes", "no", false["image"])
        (expression, value), (other, _) = [
            check(scenes[line["image"]], line["question"], line["answer"]) for line in (true, false)
        ]
        assert expression == other and not set(expression.split()) & set(kind_words(value))
    assert {line["attribute"] for line in asked} == {"category", "location", "color"}


def test_expressions_of_the_test_have_the_mask_and_the_true_value(files, scenes):
    for line in lines(files.attreval / "attreval_refseg.jsonl"):
        scene = scenes[line["image"]]
        thing = described(scene, line["expression"])
        mask = decode_segmentation(line["segmentation"], line["height"], line["width"])
        overlap = (mask & thing.mask).sum() / (mask | thing.mask).sum()  # polygons are whole pixels at their edges
        assert overlap > 0.85 and is_true(thing, line["value"])
        assert not set(line["expression"].split()) & set(kind_words(line["value"]))


def test_the_command_makes_the_same_of_their_refcoco(files, tmp_path):
    read = read_described(files.root, "refcoco", ["testB", "val", "testA"])
    build_attreval(read, tmp_path, scene_lexicons(), SelectionRule(seed=SEED))
    for name in ("attreval_vqa.jsonl", "attreval_refseg.jsonl"):
        assert (tmp_path / name).read_bytes() == (files.attreval / name).read_bytes()


def test_the_lexicon_of_scenes_has_their_words():
    lexicons = scene_lexicons()
    assert lexicons["category"].values == CATEGORIES
    assert set(COLOURS) <= set(lexicons["color"].values) and set(SIDES) <= set(lexicons["location"].values)


def test_the_recipe_asks_for_the_words_of_scenes(files):
    words = Config.fromfile(config_path("lira_tiny_attreval")).model.generation.seg_words
    assert (sorted(words.category), sorted(words.color)) == (sorted(CATEGORIES), sorted(COLOURS))
    lines = (files.root / "attreval" / "attreval_refseg.jsonl").read_text().splitlines()
    assert {(line["attribute"], line["value"]) for line in map(json.loads, lines)} <= {
        (kind, word) for kind, own in words.items() for word in own
    }
