"""What referring expressions say of their object: handwritten, with the attributes that a person reads out of them."""

import pytest

from lira_plugin.prepare.attreval_words import ExpressionReader
from lira_plugin.structures import load_lexicons
from lira_plugin.structures.attribute_lexicon import parse_lexicon

READER = ExpressionReader(load_lexicons())


def said(expression):
    """The values that are said of the object."""
    return {entry.value for entry in READER.read(expression) if entry.sense == "said"}


def senses(expression, kind):
    return {(entry.value, entry.sense) for entry in READER.read(expression) if entry.kind == kind}


SAID = {
    # of the supplement
    "front guy": {"front", "person"},
    "silver car": {"car", "silver"},
    # one word, spelling variants, misspellings, slang
    "dude in grey": {"gray", "person"},
    "giraff on the right": {"giraffe", "right"},
    "umberella": {"umbrella"},
    "leftmost": {"left"},
    "lft guy": {"left", "person"},
    # compounds
    "left most zebra": {"left", "zebra"},
    "left-most zebra": {"left", "zebra"},
    "dark blue shirt": {"blue"},
    "navy blue suit": {"blue"},
    "man in light blue shirt": {"blue", "person"},
    "far right elephant": {"elephant", "right"},
    "top left pizza": {"left", "pizza", "top"},
    "bottom right corner": {"bottom", "corner", "right"},
    "hot dog on the left": {"hot dog", "left"},
    "stop sign": {"stop sign"},
    "teddy bear with bow": {"teddy bear"},
    "tennis player in white": {"person", "white"},
    "double decker bus": {"bus"},
    "baby elephant": {"elephant"},
    "bus driver": {"person"},
    # plurals
    "people on left": {"left", "person"},
    "the women in black": {"black", "person"},
    "two oranges in front": {"front", "orange"},
    "knives": {"knife"},
    # of another thing
    "man next to red car": {"person"},
    "woman holding a blue umbrella": {"person"},
    "guy in red car": {"person"},
    "cup left of the plate": {"cup"},
    "dog on the couch": {"dog"},
    "man right behind the woman": {"person"},
    "girl with the pink bag on the bench": {"person"},
    "boy behind the white fence, left": {"left", "person"},
    "man's red shirt": {"red"},
    # of the image
    "left side of picture": {"left"},
    "car on the left of the photo": {"car", "left"},
    # negated
    "not red": set(),
    "car that is not red": {"car"},
    "guy with no hat on left": {"person"},
    "the blue one, not the black": {"blue"},
    "person without red shirt": {"person"},
    "car that isn't red": {"car"},
    "anything but red": set(),
    "not red but blue": {"blue"},
    "neither red nor blue": set(),
    "anyone but the left man": set(),
    "t.v. on the left": {"left", "tv"},
    # parts and amounts
    "piece of cake on left": {"cake", "left"},
    "bunch of bananas": {"banana"},
    # counted
    "third from right in blue": {"blue"},
    "second from left": set(),
    "2nd cow from the right": {"cow"},
    "third zebra on left": {"zebra"},
    # accessories and parts
    "man in red hat": {"person"},
    "gray hair": set(),
    "lady with brown hair in green dress": {"green", "person"},
    "girl in pink top": {"person", "pink"},
    "dog with white face": {"dog"},
    # two colours
    "black and white cat": {"black", "cat", "white"},
    # that also name a thing
    "orange shirt": {"orange"},
    "man in orange": {"orange", "person"},
    "an orange": {"orange"},
    "dark orange car": {"car", "orange"},
    "rose dress": {"pink"},
    "roses in the vase": set(),
    # phrases that say nothing
    "looking left": set(),
    "his right hand": set(),
    "front wheel": set(),
    "girl in tank top": {"person"},
    "right-handed batter": {"person"},
    # skin
    "white guy on left": {"left", "person"},
    "black dog": {"black", "dog"},
    # parts of things
    "red truck's front": {"red"},
    "bus with green front": {"bus"},
    "chair closest to window": {"chair"},
    # front and back
    "man in front": {"front", "person"},
    "man in front of the bus": {"person"},
    "guy in the back": {"back", "person"},
    "closest cow": {"cow", "front"},
    "middle sheep": {"center", "sheep"},
}


@pytest.mark.parametrize(("expression", "values"), SAID.items(), ids=list(SAID))
def test_handwritten_expressions(expression, values):
    assert said(expression) == values


def test_there_are_fifty():
    assert len(SAID) >= 50


@pytest.mark.parametrize(
    ("expression", "kind", "expected"),
    [
        ("not red", "color", {("red", "negated")}),
        ("man next to red car", "color", {("red", "other thing")}),
        ("the man on the bike on the left", "location", {("left", "ambiguous")}),
        ("second from left", "location", {("left", "other thing")}),
        ("third zebra on left", "location", {("left", "ambiguous")}),
        ("orange on left", "color", {("orange", "ambiguous")}),
        ("orange on left", "category", {("orange", "ambiguous")}),
        ("an orange", "color", set()),
        ("two oranges", "color", set()),
        ("orange shirt", "category", set()),
        ("rose on the left", "color", {("pink", "ambiguous")}),
        ("glass of orange juice", "color", {("orange", "silent")}),
        ("white guy", "color", {("white", "ambiguous")}),
        ("left hand", "location", {("left", "silent")}),
        ("the reds", "color", {("red", "silent")}),
        ("glass on left", "category", {("", "silent")}),
        ("person turned to the left", "location", {("left", "silent")}),
        ("front guy", "color", set()),
        ("silver car", "location", set()),
    ],
)
def test_senses(expression, kind, expected):
    """A word that is not said of the object is kept all the same: the expression is not without a word of its kind."""
    assert senses(expression, kind) == expected


def test_case_and_signs_do_not_matter():
    assert READER.read("The LEFT-MOST  zebra!") == READER.read("the left most zebra")


def test_words_of_a_lexicon_of_ones_own():
    lexicon = parse_lexicon("color", "mauve, mauvish\ntaupe\n! mauve room\n", "color.txt")
    reader = ExpressionReader(load_lexicons() | {"color": lexicon})
    assert [entry.value for entry in reader.read("mauvish red car") if entry.kind == "color"] == ["mauve"]
    assert [entry.sense for entry in reader.read("mauve room") if entry.kind == "color"] == ["silent"]
