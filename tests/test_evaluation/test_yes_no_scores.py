import random

import pytest
from support.random_answers import random_answers

from lira_plugin.evaluation.yes_no_scores import YesNo, mme_figures, mme_verdict, pope_verdict, yes_no_figures

POPE = {
    "Yes": "yes",
    "yes": "yes",
    "No": "no",
    "no": "no",
    "NO": "yes",
    "nO": "yes",
    "No.": "no",
    "No, there is none": "no",
    "no!": "yes",
    "no\n": "yes",
    "there is no dog": "no",
    "there is not a dog": "no",
    "Not at all": "yes",
    "There isn't": "yes",
    "nothing": "yes",
    "None": "yes",
    "Yes. No": "yes",
    "No. Yes": "no",
    "Yes, not no": "no",
    "n,o": "no",
    ".no": "yes",
    "": "yes",
    " no ": "no",
    "not": "no",
    "maybe": "yes",
    "不是": "yes",
}
MME = {
    "Yes": "yes",
    "yes": "yes",
    "YES": "yes",
    "No": "no",
    "no": "no",
    "No.": "no",
    "Yes, it is": "yes",
    "yes no": "yes",
    "no, yes": "no",
    " yes": "yes",
    "a no": "no",
    "the no": "other",
    "Eyes": "yes",
    "Nope": "no",
    "None": "no",
    "not": "no",
    "know": "no",
    "It is no": "other",
    "true": "other",
    "": "other",
    "y": "other",
    "n o": "other",
    "是": "other",
}


def test_the_verdicts_of_pope_were_worked_out_by_hand():
    assert {text: pope_verdict(text) for text in POPE} == POPE


def test_the_verdicts_of_mme_were_worked_out_by_hand():
    assert {text: mme_verdict(text) for text in MME} == MME


def test_random_verdicts_are_those_of_plain_restatements():
    for answer in random_answers(3000):
        word, denies = "", False
        for letter in answer + ".":
            if letter in " .":
                denies |= word in ("No", "no", "not")
                word = ""
            elif letter != ",":
                word += letter
            if letter == ".":
                break
        assert pope_verdict(answer) == ("no" if denies else "yes"), answer
        opening = answer.strip().lower()[:4]
        said = [v for v in ("yes", "no") if any(opening[i : i + len(v)] == v for i in range(4))]
        assert mme_verdict(answer) == (said[0] if said else "other"), answer


@pytest.mark.parametrize(
    ("said", "true", "expected"),
    [
        ("yyyn", "ynnn", (2 / 4, 1 / 3, 1 / 1, 2 / 4, 3 / 4)),
        ("yynn", "yyyn", (3 / 4, 1.0, 2 / 3, 4 / 5, 1 / 2)),
        ("nn", "nn", (1.0, 0.0, 0.0, 0.0, 0.0)),
        ("yy", "nn", (0.0, 0.0, 0.0, 0.0, 1.0)),
        ("nn", "yy", (0.0, 0.0, 0.0, 0.0, 0.0)),
        ("ny", "yn", (0.0, 0.0, 0.0, 0.0, 0.5)),
        ("y", "y", (1.0, 1.0, 1.0, 1.0, 1.0)),
    ],
)
def test_the_figures_of_pope(said, true, expected):
    words = {"y": "yes", "n": "no"}
    figures = yes_no_figures([YesNo(words[a], words[b]) for a, b in zip(said, true)])
    assert list(figures) == ["accuracy", "precision", "recall", "F1", "yes_share"]
    assert tuple(figures.values()) == pytest.approx(expected)


def test_random_figures_are_those_of_counted_cells():
    rng = random.Random(0)
    for _ in range(200):
        answers = [YesNo(rng.choice(["yes", "no"]), rng.choice(["yes", "no"])) for _ in range(rng.randrange(1, 12))]
        cells = {
            (a, b): sum((x.said, x.label) == (a, b) for x in answers) for a in ("yes", "no") for b in ("yes", "no")
        }
        tp, fp, fn, tn = cells["yes", "yes"], cells["yes", "no"], cells["no", "yes"], cells["no", "no"]
        figures = yes_no_figures(answers)
        assert figures["accuracy"] == pytest.approx((tp + tn) / (tp + tn + fp + fn))
        if tp:
            precision, recall = tp / (tp + fp), tp / (tp + fn)
            assert figures["F1"] == pytest.approx(2 * precision * recall / (precision + recall))
            assert (figures["precision"], figures["recall"]) == pytest.approx((precision, recall))
        else:
            assert figures["F1"] == figures["precision"] == figures["recall"] == 0


def test_mme_counts_questions_and_images():
    answers = [
        YesNo("yes", "yes", "1.jpg"),
        YesNo("no", "no", "1.jpg"),
        YesNo("yes", "yes", "2.jpg"),
        YesNo("other", "no", "2.jpg"),
    ]
    assert mme_figures(answers) == {"accuracy": 3 / 4, "accuracy_plus": 1 / 2, "score": 125}


def test_an_image_of_mme_has_two_questions():
    with pytest.raises(ValueError, match="there are 1 of the group '2.jpg'"):
        mme_figures([YesNo("yes", "yes", "1.jpg"), YesNo("no", "no", "1.jpg"), YesNo("yes", "no", "2.jpg")])


@pytest.mark.parametrize("figures", [yes_no_figures, mme_figures])
def test_no_answer_is_an_error(figures):
    with pytest.raises(ValueError, match="no answer to score"):
        figures([])
