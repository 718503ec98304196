import pytest
from support.random_answers import random_answers

from lira_plugin.evaluation.relaxed_scores import relaxed_match

CASES = [
    ("100", "100", True),
    ("105", "100", True),
    ("95", "100", True),
    ("105.1", "100", False),
    ("94.9", "100", False),
    ("-100", "100", False),
    ("-105", "-100", True),
    ("7%", "7%", True),
    ("7%", "0.07", True),
    ("7", "7%", False),
    ("7.3%", "7%", True),
    ("7.4%", "7%", False),
    ("0", "0", True),
    ("0.0", "0", False),
    ("0.001", "0", False),
    ("1e2", "100", True),
    (" 100 ", "100", True),
    ("1,000", "1000", False),
    ("$100", "100", False),
    ("100 people", "100", False),
    ("Yes", "yes", True),
    ("yes.", "yes", False),
    ("", "yes", False),
    ("", "5", False),
    ("nan", "5", False),
    ("5", "nan", False),
    ("nan", "nan", False),
    ("inf", "5", False),
    ("Male", "Female", False),
    ("%", "%", True),
    ("2020", "2019", True),
    ("Blue", "blue", True),
]


@pytest.mark.parametrize(("answer", "label", "right"), CASES)
def test_the_relaxed_match_was_worked_out_by_hand(answer, label, right):
    assert relaxed_match(answer, label) == right


def test_random_answers_match_as_a_plain_restatement_says():
    labels = ["5", "-3.5", "7%", "dog", "0", "100"]
    answers = [
        *random_answers(300),
        *(str(index / 4) for index in range(-20, 30)),
        *(f"{index}%" for index in range(9)),
    ]
    for answer in answers:
        for label in labels:
            values = []
            for text in (answer.strip(), label):
                try:
                    values.append(float(text[:-1]) / 100 if text.endswith("%") and text != "%" else float(text))
                except ValueError:
                    values.append(None)
            said, true = values
            if said is None or not true:
                expected = answer.strip().lower() == label
            else:
                expected = abs(true) * 0.95 - 1e-12 <= said * (1 if true > 0 else -1) <= abs(true) * 1.05 + 1e-12
            assert relaxed_match(answer, label) == expected, (answer, label)
