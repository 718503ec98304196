"""What a model thinks an object is: `LIRAInferencer.attributes`."""

import math

import numpy as np
import pytest
from support.tiny_model import write_image

from lira_plugin.inference import AttributeReading
from lira_plugin.settings import WrongSetting
from lira_plugin.structures import GroundedSpan, load_lexicons

pytestmark = pytest.mark.slow

SETS = {"color": ["red", "light blue", "light green"], "size": {"big": "large", "huge": "large", "tiny": "small"}}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return write_image(tmp_path_factory.mktemp("attributes"), "scene", 48, 64)


def test_words_are_ranked_by_their_probability_at_the_seg(lira, image):
    reading = lira.attributes(image, "the Cup", SETS)
    assert reading.image.shape == (48, 64, 3) and reading.span.mask.shape == (48, 64)
    assert reading.expression == "the Cup" and reading.span.phrase == "the cup", "though the model would not say it"
    (answer,) = lira(image, "Please segment the Cup.", force=True, seg_words=SETS)
    for stage in ("coarse", "refined"):
        words = answer.spans[0].words_of(stage)
        for kind, own in reading.words_of(stage).items():
            total = sum(map(math.exp, words[kind].values()))
            assert [word.prob for word in own] == pytest.approx(
                [math.exp(words[kind][word.value]) / total for word in own], rel=1e-4
            )
            assert [word.prob for word in own] == sorted((word.prob for word in own), reverse=True)
            assert sum(word.prob for word in own) == pytest.approx(1)
    assert {kind: {word.value for word in own} for kind, own in reading.coarse.items()} == {
        "color": {"red", "light blue", "light green"},
        "size": {"large", "small"},
    }


def test_without_sets_it_is_asked_for_those_of_the_lexicons(lira, image):
    reading = lira.attributes(image, "cup")
    assert {kind: {word.value for word in own} for kind, own in reading.refined.items()} == {
        kind: set(lexicon.values) for kind, lexicon in load_lexicons().items()
    }


def test_without_sets_those_of_the_recipe_come_first(lira, image, monkeypatch):
    monkeypatch.setitem(lira.model.generation, "seg_words", SETS)
    reading = lira.attributes(image, "cup")
    assert set(reading.refined) == set(SETS)
    assert {word.value for word in reading.refined["size"]} == {"large", "small"}


def test_the_rule_of_words_of_several_tokens(lira, image):
    first, whole = (lira.attributes(image, "cup", SETS, rule=rule) for rule in ("first", "whole"))
    assert first.coarse["color"] != whole.coarse["color"]
    assert (first.span.mask == whole.span.mask).all()
    mass = {
        rule: sum(map(math.exp, one.span.words["color"].values())) for rule, one in (("first", first), ("whole", whole))
    }
    assert mass["whole"] < mass["first"], "each word has to be said to its end"


def test_a_reading_is_short_to_read():
    words = {
        "color": {value: math.log(prob) for value, prob in (("red", 0.1), ("blue", 0.3), ("tan", 0.05), ("gold", 0.05))}
    }
    mask = np.zeros((4, 5), bool)
    reading = AttributeReading.of_span(
        "the car", np.zeros((4, 5, 3), np.uint8), GroundedSpan(0, 3, "car", mask, words=words)
    )
    assert repr(reading) == "AttributeReading('the car': color blue 0.60, red 0.20, tan 0.10)"
    assert reading.to_json() == {
        "expression": "the car",
        "score": 0.0,
        **{
            stage: {"color": pytest.approx({"blue": 0.6, "red": 0.2, "tan": 0.1, "gold": 0.1})}
            for stage in ("coarse", "refined")
        },
    }


@pytest.mark.parametrize(
    "sets", [{}, {"color": []}, {"color": "red"}, ["red"], {"color": [" "]}, {"color": {"red": 3}}]
)
def test_sets_that_say_nothing(lira, image, sets):
    with pytest.raises(WrongSetting, match="sets|color"):
        lira.attributes(image, "cup", sets)


def test_other_mistakes(lira, image):
    for nothing in (" ", ".", ""):
        with pytest.raises(ValueError, match="must name an object"):
            lira.attributes(image, nothing, SETS)
    with pytest.raises(ValueError, match=r"one image, .* has 2"):
        lira.attributes([image, image], "cup", SETS)
    with pytest.raises(WrongSetting, match="seg_word_rule must be one of"):
        lira.attributes(image, "cup", SETS, rule="last")
    with pytest.raises(FileNotFoundError):
        lira.attributes("nowhere.png", "cup", SETS)
    assert lira(image, "Please segment the cup.", force=True)[0].spans[0].words is None, "others are not asked"
