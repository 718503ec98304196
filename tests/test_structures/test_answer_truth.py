import pytest
from support.tiny_model import make_samples

from lira_plugin.structures import AnswerTruth, Conversation, Record, Turn

CHOICES = ("red", "green", "blue")


@pytest.mark.parametrize(
    ("shift", "choices", "label"),
    [
        (0, ("red", "green", "blue"), "B"),
        (1, ("green", "blue", "red"), "A"),
        (2, ("blue", "red", "green"), "C"),
        (3, ("red", "green", "blue"), "B"),
    ],
)
def test_a_turned_question_keeps_its_truth(shift, choices, label):
    turned = AnswerTruth(label="B", choices=CHOICES, group="7").turned(shift)
    assert (turned.choices, turned.label, turned.group) == (choices, label, "7")


def test_what_has_no_label_or_options_can_be_turned_too():
    assert AnswerTruth(choices=CHOICES).turned(1) == AnswerTruth(choices=("green", "blue", "red"))
    assert AnswerTruth(label="yes").turned(1) == AnswerTruth(label="yes")


def test_a_label_that_no_option_has_is_an_error():
    with pytest.raises(ValueError, match=r"one of \('A', 'B', 'C'\), got 'D'"):
        AnswerTruth(label="D", choices=CHOICES)
    with pytest.raises(ValueError, match="at most 26, got 27"):
        AnswerTruth(choices=("x",) * 27)


def test_a_truth_is_known_by_its_answers_or_its_label():
    assert AnswerTruth(answers=("a",)).is_known and AnswerTruth(label="yes").is_known
    assert not AnswerTruth(choices=CHOICES).is_known


def test_samples_for_generation_carry_the_truth_of_their_record():
    truth = AnswerTruth(answers=("two", "2"))
    record = Record("vqa/val", "1", None, Conversation((Turn("How many?", "two"),)), truth=truth)
    assert [sample.truth for sample in make_samples([record], for_generation=True)] == [truth]
    assert [sample.truth for sample in make_samples([record])] == [None]
