"""AttrEval-VQA's figures against plain loops over the pairs."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from support.tiny_model import make_samples, refer_record

from lira_plugin.evaluation import AttrEvalMetric
from lira_plugin.evaluation.answer_lines import score_answer_file, score_answer_lines
from lira_plugin.evaluation.chance_level import chance_level
from lira_plugin.evaluation.yes_no_scores import first_verdict
from lira_plugin.structures import AnswerTruth, AttributeTruth, GroundedText

KINDS = ("category", "location", "color")
ANSWERS = ("yes", "no", "Yes", " NO ", "yes.", "No, it is not.", "It is red.", "", "not yes, no")


def random_pairs(count, seed):
    """(kind, yes answer, no answer) of each pair."""
    rng = np.random.default_rng(seed)
    return [(KINDS[rng.integers(3)], ANSWERS[rng.integers(9)], ANSWERS[rng.integers(9)]) for _ in range(count)]


def plain_figures(pairs):
    """The reference's rule and the tolerant one, pair by pair."""

    def tolerant(answer):
        words = [word for word in re.split(r"\W+", answer.lower()) if word in ("yes", "no")]
        return words[0] if words else ""

    exact_pairs = tolerant_pairs = exact = tolerant_right = said_yes = right_yes = right_no = 0
    for _, first, second in pairs:
        yes_right, no_right = first.strip().lower() == "yes", second.strip().lower() == "no"
        exact_pairs += yes_right and no_right
        tolerant_pairs += tolerant(first) == "yes" and tolerant(second) == "no"
        right_yes, right_no = right_yes + yes_right, right_no + no_right
        exact += yes_right + no_right
        tolerant_right += (tolerant(first) == "yes") + (tolerant(second) == "no")
        said_yes += (tolerant(first) == "yes") + (tolerant(second) == "yes")
    count = len(pairs)
    return {
        "pairs": count,
        "pair_accuracy": exact_pairs / count,
        "pair_accuracy_tolerant": tolerant_pairs / count,
        "accuracy": exact / (2 * count),
        "accuracy_tolerant": tolerant_right / (2 * count),
        "accuracy_where_yes": right_yes / count,
        "accuracy_where_no": right_no / count,
        "yes_share": said_yes / (2 * count),
    }


def lines_of(pairs):
    return [
        {"question_id": index, "answer": answer, "annotation": label, "attribute": kind}
        for index, (kind, *answers) in enumerate(pairs)
        for answer, label in zip(answers, ("yes", "no"))
    ]


@pytest.fixture
def evaluate(tmp_path):
    (sample,) = make_samples([refer_record(tmp_path, "a", ["cat"], 40, 40)])

    def evaluate(metric, asked):
        """``asked``: (source, truth, answer)."""
        samples = [
            replace(sample, index=index, source=source, record_id=str(index), truth=truth, question="Is it?")
            for index, (source, truth, _) in enumerate(asked)
        ]
        metric.process({"data_samples": samples}, [GroundedText(text=answer) for *_, answer in asked])
        return metric.evaluate(len(asked))

    return evaluate


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_a_loop_over_the_pairs(evaluate, seed):
    pairs = random_pairs(40, seed)
    asked = [
        ("attreval", AnswerTruth(label=label, category=kind, group=str(index)), answer)
        for index, (kind, *answers) in enumerate(pairs)
        for answer, label in zip(answers, ("yes", "no"))
    ]
    figures = evaluate(AttrEvalMetric(), asked)
    expected = {f"attreval/{name}": value for name, value in plain_figures(pairs).items()}
    for kind in KINDS:
        own = plain_figures([pair for pair in pairs if pair[0] == kind])
        expected |= {f"attreval/{kind}/{name}": value for name, value in own.items()}
    assert figures == pytest.approx(expected | {"attreval/questions": 80})


def test_a_file_is_paired_by_its_order_and_equal_to_the_metric(tmp_path):
    """Both questions of a pair have one id here, as they may in the official file."""
    pairs = random_pairs(30, 5)
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(map(json.dumps, lines_of(pairs))))
    found = score_answer_file(path, "attreval")
    assert {name: found.figures[name] for name in plain_figures(pairs)} == pytest.approx(plain_figures(pairs))


def test_what_a_metric_dumps_can_be_scored_again(evaluate, tmp_path):
    pairs = random_pairs(10, 7)
    asked = [
        ("attreval", AnswerTruth(label=label, category=kind, group=str(index)), answer)
        for index, (kind, *answers) in enumerate(pairs)
        for answer, label in zip(answers, ("yes", "no"))
    ]
    figures = evaluate(AttrEvalMetric(dump=tmp_path / "dump.jsonl", out_file=tmp_path / "out.json"), asked)
    lines = (tmp_path / "dump.jsonl").read_text().splitlines()
    turned = sorted(lines, reverse=True)  # with groups the order does not matter
    again = score_answer_lines([(str(index), json.loads(line)) for index, line in enumerate(turned)], "attreval")
    assert again.figures == pytest.approx({name.removeprefix("attreval/"): value for name, value in figures.items()})
    assert json.loads((tmp_path / "out.json").read_text())["settings"]["rule"] == "attreval"


def test_expressions_in_the_same_test_are_passed_over(evaluate):
    pair = [("vqa", AnswerTruth(label=label, group="0"), label) for label in ("yes", "no")]
    seg = ("refseg", AttributeTruth("color", "red", 7), "front guy")
    assert evaluate(AttrEvalMetric(), [pair[0], seg, pair[1]])["vqa/pair_accuracy"] == 1
    with pytest.raises(ValueError, match="none was asked"):
        evaluate(AttrEvalMetric(), [seg])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines.pop(), "line 2i and 2i \\+ 1, but there are 5"),
        (lambda lines: [line.update(group=1) for line in lines], "6 answers have the group '1'"),
        (lambda lines: lines[0].update(group=1), "1 answers have the group '1'"),
        (lambda lines: lines[0].update(attribute="color"), "both questions of a pair ask for one attribute"),
        (lambda lines: lines[0].update(annotation="red"), "'yes' or 'no', got 'red'"),
        (lambda lines: lines[0].pop("annotation"), "'label' must be a text"),
    ],
)
def test_pairs_that_are_not_whole_are_refused(change, message):
    lines = lines_of([("location", "yes", "no")] * 3)
    change(lines)
    with pytest.raises(ValueError, match=message):
        score_answer_lines([(str(index), line) for index, line in enumerate(lines)], "attreval")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [("Yes.", "yes"), ("no, yes", "no"), ("NO!", "no"), ("It is not.", "other"), ("eyes", "other"), ("know", "other")],
)
def test_the_tolerant_rule_takes_the_first_whole_word(answer, verdict):
    assert first_verdict(answer) == verdict


def test_chance_is_a_quarter_of_the_pairs():
    """Four ways to answer a pair by yes or no, of which one is right."""
    truths = [AnswerTruth(label=label, group="0") for label in ("yes", "no")]
    assert chance_level("attreval", truths) == 1 / 4
