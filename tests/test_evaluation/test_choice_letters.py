import pytest
from support.random_answers import random_answers

from lira_plugin.evaluation.choice_letters import choice_letter, reference_letter, seed_letter

COLOURS = ("red", "green", "light green", "blue")
REFERENCE = {
    "A": "A",
    "B": "B",
    " B ": "B",
    "b": "b",
    "E": "E",
    "?": "?",
    "": "",
    "  ": "",
    "B.": "B",
    "B. green": "B",
    "Because it is blue": "B",
    "Dark red": "D",
    "Each": "Each",
    "(B)": "(B)",
    "(B) green": "B",
    "green": "B",
    "light green": "B",
    "It is blue": "D",
    "blue or red": "A",
    "Red": "Red",
    "the answer is B": "the answer is B",
    "The answer is green": "B",
    "colored": "A",
    "none": "none",
    "答案是B": "答案是B",
}
TOLERANT = {
    "B": "B",
    "b": "B",
    " B\n": "B",
    "B.": "B",
    "b)": "B",
    "(B)": "B",
    "(b) green": "B",
    "[C]": "C",
    "**C**": "C",
    "B: green": "B",
    "B, green": "B",
    "B green": "B",
    "The answer is B": "B",
    "The correct answer is (C).": "C",
    "Answer: D": "D",
    "answer D because it is not red": "D",
    "Option B": "B",
    "I think the answer is D, not A": "D",
    "It is D": "D",
    "A or B": "",
    "A, B": "",
    "E": "",
    "E.": "",
    "": "",
    "?": "",
    "none": "",
    "green": "B",
    "Green.": "B",
    "GREEN": "B",
    "light  green": "C",
    "It is light green.": "C",
    "A green one": "B",
    "a red thing": "A",
    "Because it is blue": "D",
    "red or blue": "",
    "colored": "",
    "bluegreen": "",
    "答案是B": "B",
    "选B。": "B",
    "(D": "D",
    "A is right": "A",
    "A because it is red": "A",
    "A island is green": "B",
    "don't D'oh": "",
}


def test_the_reference_rule_was_worked_out_by_hand():
    assert {text: reference_letter(text, COLOURS) for text in REFERENCE} == REFERENCE


def test_the_tolerant_rule_was_worked_out_by_hand():
    assert {text: choice_letter(text, COLOURS) for text in TOLERANT} == TOLERANT


@pytest.mark.parametrize(
    ("answer", "choices", "letter"),
    [
        ("2", ("1", "2"), "B"),
        ("It is 2", ("1", "2", "12"), "B"),
        ("B-2 bomber", ("jet", "helicopter", "B-2 bomber"), "C"),
        ("Yes", ("Yes", "No"), "A"),
        ("红色", ("蓝色", "红色"), "B"),
        ("它是红色的", ("蓝色", "红色"), "B"),
        ("same", ("same", "same"), ""),
        ("the same", ("same", "same"), ""),
        ("I am here", ("a",) * 9, ""),
        ("f(x) = 2", ("f(x) = 1", "f(x) = 2"), "B"),
        ("(x+1)*", ("(x+1)*", "x"), "A"),
        ("...", ("...", "x"), ""),
        ("C", ("x", "y"), ""),
        ("Z", (), "Z"),
        ("it is Q", (), "Q"),
        ("word", (), ""),
    ],
)
def test_options_of_other_kinds(answer, choices, letter):
    assert choice_letter(answer, choices) == letter


def test_random_answers_name_an_option_or_none():
    for answer in random_answers(3000):
        assert choice_letter(answer, COLOURS) in ("", *"ABCD")


def test_random_answers_follow_the_reference_as_a_plain_restatement_does():
    choices = ("dog", "no", "日本", "a")
    for answer in random_answers(3000):
        text, expected = answer.strip(), None
        if len(text) < 2:
            expected = text
        elif text[0] in "ABCD":
            expected = text[0]
        else:
            for letter, choice in zip("ABCD", choices):
                if expected is None and text.find(choice) >= 0:
                    expected = letter
        assert reference_letter(answer, choices) == (text if expected is None else expected), answer


@pytest.mark.parametrize(("answer", "letter"), [("B", "B"), ("B. dog", "B"), (" C", "C"), ("because", "b"), ("", "")])
def test_seed_takes_the_first_character(answer, letter):
    assert seed_letter(answer) == letter
