"""Which objects captions name."""

import random

import pytest

from lira_plugin.evaluation.object_words import coco_words, names_as_words, parse_synonyms, plurals

OFFICIAL_LAYOUT = """person, girl, boy, man, woman, child, people, children, baby, adult, passenger, policeman, person
bus, minibus
train, locomotive
bird, goose
dog, puppy
elephant
bear, panda
tie, bow, bow tie
motorcycle, scooter,  motor bike, motor cycle
wine glass
cup
knife, pocketknife, knive
hot dog
chair, seat, stool
dining table, table, desk
toilet, urinal
cell phone, mobile phone, iPhone
oven, stovetop, stove, stove top oven
scissors
teddy bear, teddybear
skis, ski
cow, ox, oxen, calf, bison\x20
"""


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "synonyms.txt"
    path.write_text(OFFICIAL_LAYOUT)
    return coco_words(path)


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("A man and a woman.", "person, person"),
        ("Men, women and children", "person, person, person"),
        ("Two policemen watch people", "person, person"),
        ("BUSES and a minibus", "bus, bus"),
        ("geese", "bird"),
        ("Puppies chase a dog", "dog, dog"),
        ("knives beside a pocketknife", "knife, knife"),
        ("oxen, calves and a bison", "cow, cow, cow"),
        ("a pair of skis", "skis"),
        ("He has scissors.", "scissors"),
        ("A hot dog", "hot dog"),
        ("hot dogs, not a dog", "hot dog, dog"),  # negation is not treated
        ("There is no dog", "dog"),
        ("teddy bears and a bear", "teddy bear, bear"),
        ("A baby elephant", "elephant"),
        ("baby elephants and a baby", "elephant, person"),
        ("an adult bear with its cubs", "bear"),
        ("a baby cub", ""),
        ("A passenger train", "train"),
        ("a passenger on the train", "person, train"),
        ("train tracks", ""),
        ("A toilet seat", "toilet"),
        ("the seat of the toilet, a seat", "toilet"),
        ("a seat and a stool", "chair, chair"),
        ("glasses, wine glasses", "wine glass"),
        ("a bow tie", "tie"),
        ("A dining table", "dining table"),
        ("a stove top oven", "oven, oven"),
        ("a motor bike and an iPhone", "motorcycle, cell phone"),
        ("the dog's cup isn't here", "dog, cup"),
        ("A dog,a cup;a train...", "dog, cup, train"),
        ("a hot-dog", ""),
        ("birdhouse, doghouse, chairman", ""),
        ("the table. The desk!", "dining table, dining table"),
        ("", ""),
    ],
)
def test_objects_by_hand(words, caption, objects):
    assert [mention.object for mention in words.look_up(caption).mentions] == list(filter(None, objects.split(", ")))


def test_mentions_say_where_they_are(words):
    caption = "The İ TEDDY  BEARS' seat"
    found = [(caption[start:end], word) for word, _, start, end in words.look_up(caption).mentions]
    assert found == [("TEDDY  BEARS", "teddy bear"), ("seat", "seat")]


@pytest.mark.parametrize(
    ("caption", "length"),
    [("A dog.", 3), ("Two hot dogs, please!", 5), ("It isn't a man's 3.5 m kite", 9), ("well-kept o'clock...", 3)],
)
def test_length_counts_words_and_marks_and_a_double_word_once(words, caption, length):
    assert words.look_up(caption).length == length


@pytest.mark.parametrize(
    ("word", "plural"),
    [
        ("man", "men"),
        ("policeman", "policemen"),
        ("grandchild", "grandchildren"),
        ("person", "people"),
        ("mouse", "mice"),
        ("knife", "knives"),
        ("calf", "calves"),
        ("giraffe", "giraffes"),
        ("bus", "buses"),
        ("couch", "couches"),
        ("toothbrush", "toothbrushes"),
        ("puppy", "puppies"),
        ("monkey", "monkeys"),
        ("buffalo", "buffalo" + "es"),
        ("tie", "ties"),
        ("box", "boxes"),
    ],
)
def test_plurals(word, plural):
    assert plural in plurals(word) and word not in plurals(word)


def test_every_word_of_the_packaged_list_is_found_in_singular_and_plural():
    words = coco_words()
    assert len(set(words.object_of.values())) == 80
    for word, name in words.object_of.items():
        for form in {word} | plurals(word):
            mentions = words.look_up(f"A {form} there.").mentions
            assert {mention.object for mention in mentions} == {name}, form


def restated(caption, singular, object_of, double):
    """CHAIR's loop over the words of a caption, as plainly as it can be said."""
    tokens, found, skip = [singular.get(word, word) for word in caption.lower().split()], [], False
    for index, token in enumerate(tokens):
        if skip:
            skip = False
            continue
        pair = " ".join(tokens[index : index + 2])
        skip = pair in double
        found.append(double.get(pair, token))
    if "toilet" in found:
        found = [word for word in found if word != "seat"]
    return [object_of[word] for word in found if word in object_of]


def test_random_captions_against_a_plain_restatement(words):
    singular = {
        "men": "man",
        "dogs": "dog",
        "bears": "bear",
        "elephants": "elephant",
        "glasses": "glass",
        "seats": "seat",
    }
    object_of = {
        **dict.fromkeys(("man", "baby", "adult", "passenger"), "person"),
        **{
            word: word for word in ("dog", "hot dog", "bear", "teddy bear", "elephant", "train", "toilet", "wine glass")
        },
        "seat": "chair",
    }
    double = {pair: pair for pair in ("hot dog", "teddy bear", "wine glass", "train track")}
    double |= {f"{word} {animal}": animal for word in ("baby", "adult") for animal in ("dog", "bear", "elephant")}
    double |= {"passenger train": "train", "toilet seat": "toilet"}
    known = (
        "man men baby adult passenger train track dog dogs hot bear bears teddy elephant elephants wine glass glasses"
    )
    known = f"{known} toilet seat seats a the near no".split()
    draw = random.Random(0)
    for _ in range(500):
        caption = " ".join(draw.choices(known, k=draw.randint(1, 12)))
        found = [mention.object for mention in words.look_up(caption.title()).mentions]
        assert found == restated(caption, singular, object_of, double), caption


def test_names_are_words_where_no_list_is():
    words = names_as_words(["circle", "Cross", "small red  circle"])
    found = words.look_up("Two crosses, a small red circle and small circles.").mentions
    assert [mention.object for mention in found] == ["cross", "small red circle", "circle"]


def test_a_list_that_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"s\.txt, line 2: 'jet' means 'train' here and 'airplane' in an earlier line"):
        parse_synonyms("airplane, jet\ntrain, jet\n", "s.txt")
    with pytest.raises(ValueError, match=r"s\.txt has no words"):
        parse_synonyms("\n , \n", "s.txt")
    with pytest.raises(FileNotFoundError):
        coco_words(tmp_path / "none.txt")
