import pytest
from support.random_answers import random_answers

from lira_plugin.evaluation.gqa_scores import extract_gqa, gqa_match, gqa_match_official

EXTRACTED = {
    "dog": "dog",
    "Dog": "dog",
    "dog.": "dog",
    "  dog  ": "dog",
    "dog, cat": "dog",
    "dog! yes": "dog",
    "dog. It is brown.": "dog",
    "The dog": "dog",
    "a dog": "dog",
    "an apple": "apple",
    "The dog is brown": "brown",
    "The dogs are brown": "brown",
    "It is a dog": "dog",
    "It is an apple": "apple",
    "It is the dog": "dog",
    "There are the dogs": "dogs",
    "It is on top of the table": "table",
    "on top of table": "on top",
    "top of": "top",
    "pizza box": "box",
    "banana": "banana",
    "man on a bench": "bench",
    "man bench": "bench",
    "is it": "it",
    "this is red": "",
    "a a b": "",
    "a b a c": "b",
    "left of a": "left",
    "breathe deep": "deep",
    "": "",
    ".": "",
    "...dog": "",
    "3.5": "3",
    "Yes, it is": "yes",
    "None": "none",
    "日本": "日本",
}
OFFICIAL = [
    ("dog", "dog", True),
    ("Dog", "dog", True),
    ("dog.", "dog", True),
    ("dog...", "dog", True),
    (" dog ", "dog", True),
    ("dog,", "dog", False),
    ("dog!", "dog", False),
    ("a dog", "dog", False),
    ("the dog", "dog", False),
    ("dogs", "dog", False),
    ("dog. ", "dog", True),
    ("dog. It is brown", "dog", False),
    ("It is a dog", "dog", False),
    ("yes", "yes", True),
    ("Yes.", "yes", True),
    ("YES", "yes", True),
    ("yes, it is", "yes", False),
    ("no", "yes", False),
    ("", "yes", False),
    (".", "yes", False),
    ("3.5", "3.5", True),
    ("t-shirt", "t-shirt", True),
    ("t shirt", "t-shirt", False),
    ("None", "none", True),
]


def test_what_is_extracted_was_worked_out_by_hand():
    assert {text: extract_gqa(text) for text in EXTRACTED} == EXTRACTED


@pytest.mark.parametrize(("answer", "label", "right"), OFFICIAL)
def test_the_official_match_was_worked_out_by_hand(answer, label, right):
    assert gqa_match_official(answer, label) == right


def test_the_extracted_answer_is_matched():
    assert gqa_match("The dog is Brown.", "brown") and gqa_match("left of it", " Left ")
    assert not gqa_match("The dog is brown", "dog")


def test_random_answers_are_extracted_as_a_plain_restatement_does():
    for answer in random_answers(3000):
        text = ""
        for letter in answer.strip():
            if letter in ".,!":
                break
            text += letter
        text = text.lower()
        for word in ("is ", "are ", "a ", "an ", "the "):
            start = text.find(word)
            if start >= 0:
                end = text.find(word, start + len(word))
                text = text[start + len(word) : end if end >= 0 else None]
        end = text.find(" of")
        assert extract_gqa(answer) == (text[:end] if end >= 0 else text).strip(), answer
