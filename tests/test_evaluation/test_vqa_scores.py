import random
import re
from functools import cache
from itertools import pairwise

import pytest
from support.random_answers import random_answers

from lira_plugin.evaluation.vqa_scores import normalize_answer, vqa_accuracy

CONTRACTIONS = {
    "dont": "don't",
    "cant": "can't",
    "wont": "won't",
    "isnt": "isn't",
    "arent": "aren't",
    "aint": "ain't",
    "Doesnt": "doesn't",
    "its": "its",
    "it's": "it 's",
    "youre": "you're",
    "theyve": "they've",
    "couldve": "could've",
    "couldnt've": "couldn't've",
    "couldn'tve": "couldn't've",
    "somebody'd": "somebodyd",
    "ow's'at": "ow 's'at",
    "twas": "'twas",
    "maam": "ma'am",
    "oclock": "o'clock",
    "5 oclock": "5 o'clock",
    "yall'd've": "y'all'd've",
    "let's": "let 's",
    "lets": "lets",
    "Im": "im",
    "Ive": "ive",
    "whos there": "who's there",
    "wed": "wed",
    "weve wed've": "we've we'd've",
}
ARTICLES = {
    "a": "",
    "an": "",
    "the": "",
    "The": "",
    "A dog": "dog",
    "an apple": "apple",
    "the the dog": "dog",
    "dog a": "dog",
    "cat and the dog": "cat and dog",
    "another": "another",
    "theme": "theme",
    "panda": "panda",
    "a-frame": "frame",
    "a.": "",
    "the, dog": "dog",
    "'a' dog": "'a' dog",
    "AN EGG": "egg",
    "a\ndog": "dog",
    "dog\tthe cat": "dog cat",
    "a/b": "b",
    "vitamin a": "vitamin",
    "": "",
}
DIGITS = {
    "zero": "0",
    "none": "0",
    "None": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
    "eleven": "eleven",
    "TWO": "2",
    "Two dogs": "2 dogs",
    "twenty-one": "twenty 1",
    "one, two": "1 2",
    "someone": "someone",
    "no one": "no 1",
    "tenth": "tenth",
    "two.": "2",
    "nothing": "nothing",
    "02": "02",
}
PUNCTUATION = {
    "red,": "red",
    "red, white": "red white",
    "red,white": "redwhite",
    "1,000": "1000",
    "why?": "why",
    "why?not": "whynot",
    "dog's": "dog 's",
    "dogs'": "dogs'",
    "t-shirt": "t shirt",
    "t - shirt": "t shirt",
    "t-shirt - red": "tshirt red",
    "yes!": "yes",
    "yes! no": "yes no",
    "red/blue": "red blue",
    "red / blue": "red blue",
    "red/blue / green": "redblue green",
    "(red)": "red",
    "(red) car": "red car",
    "big(red)": "big red",
    '"stop"': "stop",
    "snake_case": "snake case",
    "a@b": "b",
    "[1]": "1",
    "50%": "50%",
    "$5": "$5",
    "red:blue": "red:blue",
    "red; blue": "red blue",
    "1+1=2": "1 1 2",
    "1 + 1=2": "1 1 2",
    "é-ß": "é ß",
}
PERIODS = {
    "yes.": "yes",
    "3.5": "3.5",
    "3.": "3",
    ".5": ".5",
    "p.m.": "pm",
    "U.S.A.": "usa",
    "...": "",
    "3.5.": "3.5",
    "3.x": "3x",
    "x.3": "x.3",
    "5..5": "5.5",
    "St. John": "st john",
    "no. 5": "no 5",
    "no.5": "no.5",
    "12.30 p.m.": "12.30 pm",
    "www.a.com": "wwwacom",
    "1.2.3": "1.2.3",
    ". dog": "dog",
    "a.": "",
    "." * 32: "",
    "." * 33: ".",
    "x." * 32 + "y": "x" * 32 + "y",
    "x." * 34 + "y": "x" * 32 + "x.x.y",
}


@pytest.mark.parametrize("table", [CONTRACTIONS, ARTICLES, DIGITS, PUNCTUATION, PERIODS])
def test_answers_are_normalised_as_worked_out_by_hand(table):
    assert len(table) >= 20
    assert {text: normalize_answer(text) for text in table} == table


@pytest.mark.parametrize(
    ("agreeing", "expected"),
    [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (5, 1.0), (9, 1.0), (10, 1.0)],
)
def test_agreement_with_ten_people(agreeing, expected):
    answers = ["two"] * agreeing + [f"other {index}" for index in range(10 - agreeing)]
    assert vqa_accuracy("Two.", answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["x"], 1.0),
        (["y"], 0.0),
        (["x", "x"], 1.0),
        (["x", "y"], 1 / 2),  # left out: 0 of 1 others agree, then 1 of 1
        (["x", "x", "x"], 1.0),
        (["x", "x", "y"], (1 / 2 + 1 / 2 + 1) / 3),
        (["x", "y", "y"], (0 + 1 / 2 + 1 / 2) / 3),
        (["x", "x", "x", "x"], 1.0),
        (["x", "x", "x", "y"], (2 / 3 * 3 + 1) / 4),
        (["x"] * 3 + ["y"] * 2, (2 / 3 * 3 + 1 * 2) / 5),
        (["x", "y", "y", "y", "y"], (0 + 4 / 3) / 5),
    ],
)
def test_agreement_with_fewer_people(answers, expected):
    assert vqa_accuracy("x", answers) == pytest.approx(expected)


def test_no_people_is_an_error():
    with pytest.raises(ValueError, match="no answer of people"):
        vqa_accuracy("x", [])


NUMBER_WORDS = ("none", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@cache
def restated(text: str) -> str:
    """The rules character by character; contractions and number words of the tables above only."""
    text = "".join(letter for letter in text.lower() if letter not in ",?")
    text = " 's".join(text.split("'s")).strip()
    text = re.sub("[\n\t]", " ", text).strip()
    marks = list(';/[]"{}()=+\\_-><@`!')
    lonely = {mark for mark in marks for a, b in pairwise(text) if (a, b) in ((mark, " "), (" ", mark))}
    text = "".join("" if letter in lonely else " " if letter in marks else letter for letter in text)
    kept, gone = "", 0
    for index, letter in enumerate(text):
        follower = text[index + 1 : index + 2]
        if letter == "." and gone < 32 and not (follower and re.match(r"\d", follower)):
            gone += 1
        else:
            kept += letter
    words = []
    for word in kept.split():
        if word in ("a", "an", "the"):
            continue
        word = DIGITS.get(word, word) if word in NUMBER_WORDS else word
        words.append({"dont": "don't", "twas": "'twas"}.get(word, word))
    return " ".join(words)


def test_random_answers_are_normalised_as_a_plain_restatement_does():
    for answer in random_answers(3000):
        assert normalize_answer(answer) == restated(answer), answer


def test_random_agreements_are_those_of_a_plain_restatement():
    rng = random.Random(1)
    pool = random_answers(400, seed=2)
    for _ in range(400):
        few = rng.sample(pool, 3)
        said, people = rng.choice(few), [rng.choice(few) for _ in range(10)]
        total = 0.0
        for left_out in range(10):
            others = [restated(people[index]) for index in range(10) if index != left_out]
            total += min(1, others.count(restated(said)) / 3)
        assert vqa_accuracy(said, people) == pytest.approx(total / 10)
