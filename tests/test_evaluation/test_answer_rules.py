import pytest

from lira_plugin.evaluation import AnswerResult, judge_answer, summarise_answers
from lira_plugin.structures import AnswerTruth

CHOICES = ("red", "green")


def results(rule, pairs):
    return [
        AnswerResult(str(index), answer, truth, judge_answer(rule, answer, truth))
        for index, (answer, truth) in enumerate(pairs)
    ]


def figures(rule, *pairs):
    return summarise_answers(rule, results(rule, pairs))


def test_vqa_is_the_mean_agreement():
    people = ("two",) * 2 + ("three",) * 8
    assert figures("vqa", ("2", AnswerTruth(answers=people)), ("Three.", AnswerTruth(answers=people))) == pytest.approx(
        {"questions": 2, "accuracy": (0.6 + 1) / 2}
    )


def test_gqa_has_both_rules():
    found = figures("gqa", ("The dog is brown", AnswerTruth(label="brown")), ("brown.", AnswerTruth(label="brown")))
    assert found == {"questions": 2, "accuracy": 1.0, "accuracy_official": 0.5}


def test_scienceqa_has_both_rules_and_the_image_subset():
    found = figures(
        "scienceqa",
        ("(B)", AnswerTruth(label="B", choices=CHOICES, category="image")),
        ("B", AnswerTruth(label="B", choices=CHOICES, category="image")),
        ("Because", AnswerTruth(label="A", choices=CHOICES, category="text")),
    )
    assert found == pytest.approx(
        {
            "questions": 3,
            "accuracy": 1 / 3,
            "accuracy_tolerant": 2 / 3,
            "image/accuracy": 1 / 2,
            "image/accuracy_tolerant": 1.0,
            "text/accuracy": 0.0,
            "text/accuracy_tolerant": 0.0,
        }
    )


def test_a_choice_is_the_letter_alone():
    found = figures(
        "choice", ("b", AnswerTruth(label="B")), ("B.", AnswerTruth(label="B")), ("A", AnswerTruth(label="B"))
    )
    assert found == pytest.approx({"questions": 3, "accuracy": 1 / 3, "accuracy_tolerant": 2 / 3})


def test_mmbench_counts_a_question_whose_turned_options_are_all_found():
    truth = AnswerTruth(label="A", choices=("red", "green", "blue"), group="1", category="colour")
    other = AnswerTruth(label="B", choices=CHOICES, group="2", category="colour")
    alone = AnswerTruth(label="B", choices=CHOICES)
    asked = [(truth.turned(shift).label, truth.turned(shift)) for shift in range(3)]
    found = figures("mmbench", *asked, ("B", other), ("B", other.turned(1)), ("red", alone), ("green", alone))
    assert found == pytest.approx(
        {
            "questions": 7,
            "accuracy": 5 / 7,
            "circular_accuracy": 2 / 4,
            "colour/accuracy": 4 / 5,
            "colour/circular_accuracy": 1 / 2,
        }
    )


def test_pope_has_figures_by_category_and_their_mean():
    def truth(label, category):
        return AnswerTruth(label=label, category=category)

    found = figures(
        "pope",
        ("Yes", truth("yes", "random")),
        ("Yes", truth("no", "random")),
        ("No", truth("yes", "popular")),
        ("No", truth("no", "popular")),
    )
    assert found["accuracy"] == found["random/accuracy"] == found["popular/accuracy"] == 0.5
    assert (found["random/F1"], found["popular/F1"], found["mean_F1"]) == pytest.approx((2 / 3, 0, 1 / 3))
    assert found["F1"] == pytest.approx(2 / 4) and found["yes_share"] == 0.5
    assert found["popular/precision"] == found["popular/recall"] == 0


def test_pope_without_categories_has_the_figures_of_all():
    found = figures("pope", ("Yes", AnswerTruth(label="Yes")), ("No", AnswerTruth(label="yes")))
    assert found["mean_F1"] == found["F1"] == pytest.approx(2 / 3) and not any("/" in name for name in found)


def test_relaxed_has_human_and_augmented():
    found = figures(
        "relaxed",
        ("104", AnswerTruth(label="100", category="human")),
        ("106", AnswerTruth(label="100", category="augmented")),
    )
    assert found == {"questions": 2, "accuracy": 0.5, "human/accuracy": 1.0, "augmented/accuracy": 0.0}


def test_mme_sums_the_scores_of_its_parts():
    def asked(category, image, *answers):
        labels = ("yes", "no")
        return [(said, AnswerTruth(label=true, category=category, group=image)) for said, true in zip(answers, labels)]

    found = figures(
        "mme",
        *asked("existence", "1.jpg", "Yes", "No"),
        *asked("existence", "2.jpg", "Yes", "Yes"),
        *asked("OCR", "1.jpg", "Yes", "No"),
        *asked("code_reasoning", "9.jpg", "what", "No"),
    )
    assert found["accuracy"] == 6 / 8 and found["existence/accuracy_plus"] == 1 / 2
    assert (found["existence/score"], found["OCR/score"], found["code_reasoning/score"]) == (125, 200, 50)
    assert (found["perception"], found["cognition"]) == (325, 50)


def test_mme_without_a_part_has_no_sum_of_it():
    pair = [("Yes", AnswerTruth(label="yes", category="scenes of ours", group="1")) for _ in range(2)]
    assert not {"perception", "cognition"} & figures("mme", *pair).keys()


def test_seed_tells_images_from_videos():
    found = figures(
        "seed",
        ("A. dog", AnswerTruth(label="A", category="1")),
        ("B", AnswerTruth(label="A", category="9")),
        ("B", AnswerTruth(label="B", category="10")),
    )
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert (found["image/accuracy"], found["video/accuracy"], found["9/accuracy"]) == (0.5, 1.0, 0.0)


@pytest.mark.parametrize("rule", ["gqa", "scienceqa", "choice", "mmbench", "pope", "mme", "relaxed", "seed"])
def test_a_rule_needs_a_label(rule):
    with pytest.raises(ValueError, match="the truth has no label"):
        judge_answer(rule, "yes", AnswerTruth(answers=("yes",), choices=CHOICES))


@pytest.mark.parametrize("rule", ["pope", "mme"])
def test_a_verdict_needs_a_label_that_is_one(rule):
    with pytest.raises(ValueError, match="must be 'yes' or 'no', got 'maybe'"):
        judge_answer(rule, "yes", AnswerTruth(label="maybe"))


def test_answers_without_a_known_truth_are_counted_only():
    unknown = AnswerResult("1", "yes", AnswerTruth(), None)
    assert summarise_answers("gqa", [unknown]) == {"questions": 1}
    known = results("gqa", [("yes", AnswerTruth(label="yes"))])
    assert summarise_answers("gqa", [unknown, *known])["accuracy"] == 1.0
