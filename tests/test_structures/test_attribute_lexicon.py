"""Lexicons of attributes: those of the package, and files of one's own."""

import pytest

from lira_plugin.structures import ATTRIBUTE_KINDS, load_lexicon, load_lexicons
from lira_plugin.structures.attribute_lexicon import parse_lexicon
from lira_plugin.structures.attribute_prompts import attribute_question

COCO = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, "
    "laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, "
    "scissors, teddy bear, hair drier, toothbrush"
)


def test_the_packages_lexicons_have_cocos_categories_and_the_papers_colours():
    lexicons = load_lexicons()
    assert list(lexicons) == list(ATTRIBUTE_KINDS)
    assert list(lexicons["category"].values) == COCO.split(", ")
    papers = "red orange yellow green blue purple pink brown cyan silver gold gray white black"
    assert set(papers.split()) <= set(lexicons["color"].values)
    assert {"left", "right", "top", "bottom", "front", "back", "center", "edge", "corner"} <= set(
        lexicons["location"].values
    )
    for lexicon in lexicons.values():
        assert all(lexicon.words[value] == value for value in lexicon.values)


def test_words_lead_to_their_value():
    category, location, color = load_lexicons().values()
    assert category.words["guys"] == category.words["women"] == category.words["people"] == "person"
    assert category.words["knives"] == "knife" and category.words["motor bikes"] == "motorcycle"
    assert location.words["left most"] == "left" and location.words["centre"] == "center"
    assert color.words["grey"] == "gray" and color.words["dark blue"] == "blue" and color.words["off white"] == "white"


def test_opposites_are_the_other_end_of_an_axis_and_the_middle_has_both_ends():
    location = load_lexicon("location")
    assert location.opposites("left") == ("right",) and location.opposites("top") == ("bottom",)
    assert location.opposites("center") == ("left", "right") and location.opposites("corner") == ()
    assert location.exclude("left", "center") and not location.exclude("left", "top")
    assert load_lexicon("color").exclude("red", "blue") and not load_lexicon("color").exclude("red", "red")


def test_values_too_close_are_near_in_both_orders():
    near = load_lexicon("color").near
    assert ("silver", "gray") in near and ("gray", "silver") in near and ("red", "green") not in near


LINES = """
# a comment
red, crimson, dark-red   # more
rose*, pinkish
blue
! red wine
~ red, rose
= warmth: red, blue
"""


def test_every_form_of_a_line():
    lexicon = parse_lexicon("color", LINES, "color.txt")
    assert lexicon.values == ("red", "rose", "blue")
    assert lexicon.words["dark red"] == lexicon.words["crimson"] == "red"
    assert lexicon.things == {"rose"} and lexicon.silent == {"red wine"}
    assert lexicon.near == {("red", "rose"), ("rose", "red")} and lexicon.axes == {"warmth": ("red", "blue")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no value"),
        ("red, crimson\nblue, crimson", "line 2: 'crimson' means 'blue' here and 'red' in an earlier line"),
        ("red\n~ red, green", "line 2: 'green' is no value"),
        ("red, crimson\n= x: red, crimson", "line 2: 'crimson' is no value"),
        ("red, cr/imson", "line 1: 'cr/imson' is no word"),
    ],
)
def test_a_bad_line_is_named(text, message):
    with pytest.raises(ValueError, match=f"color.txt.*{message}"):
        parse_lexicon("color", text, "color.txt")


def test_files_are_known_by_their_kind(tmp_path):
    (tmp_path / "color.txt").write_text("mauve\n")
    for path in (tmp_path, tmp_path / "color.txt"):
        lexicons = load_lexicons([path])
        assert lexicons["color"].values == ("mauve",) and lexicons["location"] == load_lexicon("location")
    (tmp_path / "shades.txt").write_text("mauve\n")
    with pytest.raises(ValueError, match=r"shades.txt is no lexicon: .*category.txt, location.txt, color.txt"):
        load_lexicons([tmp_path / "shades.txt"])
    with pytest.raises(FileNotFoundError):
        load_lexicons([tmp_path / "gone" / "color.txt"])
    with pytest.raises(ValueError, match="must be one of category, location, color, got 'size'"):
        load_lexicon("size")


@pytest.mark.parametrize(
    ("expression", "kind", "value", "question"),
    [
        ("front guy", "color", "red", "Is the front guy in red? Please answer yes or no."),
        ("large circle", "color", "red", "Is the large circle in red? Please answer yes or no."),
        ("silver car", "location", "left", "Is the silver car on the left? Please answer yes or no."),
        ("silver car", "location", "top", "Is the silver car at the top? Please answer yes or no."),
        ("the silver car.", "location", "back", "Is the silver car in the back? Please answer yes or no."),
        ("red one", "category", "car", "Is the red one a car? Please answer yes or no."),
        ("red one", "category", "bus", "Is the red one a bus? Please answer yes or no."),
        ("red one", "category", "skis", "Is the red one skis? Please answer yes or no."),
        ("red one", "category", "umbrella", "Is the red one an umbrella? Please answer yes or no."),
    ],
)
def test_questions_to_the_letter(expression, kind, value, question):
    assert attribute_question(expression, kind, value) == question
