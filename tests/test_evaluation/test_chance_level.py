"""Chance level against cases that were worked out by hand."""

import pytest

from lira_plugin.evaluation import chance_level
from lira_plugin.structures import AnswerTruth


def choice(count, group="", label="A"):
    return AnswerTruth(label=label, choices=tuple("abcd"[:count]), group=group)


def word(label, category=""):
    return AnswerTruth(label=label, category=category)


@pytest.mark.parametrize(
    ("rule", "truths", "expected"),
    [
        ("scienceqa", [choice(2), choice(4)], (1 / 2 + 1 / 4) / 2),
        ("choice", [choice(3)], 1 / 3),
        ("seed", [choice(4), choice(4)], 1 / 4),
        # two turns of two choices, three turns of three, and one that is alone
        ("mmbench", [choice(2, "1")] * 2 + [choice(3, "2")] * 3 + [choice(4)], (1 / 4 + 1 / 27 + 1 / 4) / 3),
        ("gqa", [word("yes"), word("no"), word("no"), word("red")], 2 / 4),
        # always "yes": precision 1/2, recall 1
        ("pope", [word("yes", "random"), word("no", "random")], 2 / 3),
        # "yes" agrees with nine of ten in the first question, and with none in the second
        ("vqa", [AnswerTruth(answers=("yes",) * 9 + ("no",)), AnswerTruth(answers=("up",) * 10)], 1 / 2),
    ],
)
def test_by_hand(rule, truths, expected):
    assert chance_level(rule, truths) == pytest.approx(expected)
