"""SegWitnessMetric: figures, files and errors."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from test_refer_seg_metric import block, sample_of

from lira_plugin.evaluation import SegWitnessMetric, Witness, attribute_figures
from lira_plugin.evaluation.rank_correlation import correlate
from lira_plugin.structures import AnswerTruth, AttributeTruth, GroundedSpan, GroundedText

TARGET = block(4, 10)


def words(kind, **probs):
    return {kind: {value: math.log(prob) for value, prob in probs.items()}}


def case(index, kind, value, refined, coarse, columns=(10, 10), image=None):
    """A record and its answer, whose refined and coarse mask have the first columns of the target."""
    truth = AttributeTruth(kind, value, 100 + index)
    sample = sample_of(TARGET, source="attreval/refseg", record_id=str(index), truth=truth, index=index)
    sample = replace(sample, image_key=image or f"image {index}")
    if refined is None:
        return sample, GroundedText("There is no thing.")
    masks = [block(4, count) for count in columns]
    span = GroundedSpan(0, 5, "thing", *masks, words=words(kind, **refined), coarse_words=words(kind, **coarse))
    return sample, GroundedText("thing.", (span,))


CASES = [
    case(0, "color", "red", {"red": 0.5, "blue": 0.1, "gray": 0.2}, {"red": 0.1, "blue": 0.2, "gray": 0.3}, (10, 2)),
    case(1, "color", "blue", {"red": 0.5, "blue": 0.1, "gray": 0.2}, {"red": 0.1, "blue": 0.2, "gray": 0.3}, (5, 5)),
    case(
        2,
        "color",
        "gray",
        {"red": 0.1, "blue": 0.1, "gray": 0.2},
        {"red": 0.1, "blue": 0.3, "gray": 0.25},
        (8, 9),
        "image 1",
    ),
    case(3, "color", "gray", None, None),
    case(4, "location", "left", {"left": 0.4, "right": 0.1}, {"left": 0.1, "right": 0.2}, (7, 1)),
]


def evaluate(cases, **settings):
    metric = SegWitnessMetric(**settings)
    for start in range(0, len(cases), 2):
        chunk = cases[start : start + 2]
        metric.process({"data_samples": [sample for sample, _ in chunk]}, [answer for _, answer in chunk])
    return metric.evaluate(len(cases))


def test_figures_by_stage_and_kind():
    figures = evaluate(CASES)
    assert figures["attreval/refseg/refined/color/top1"] == 1 / 2
    assert figures["attreval/refseg/coarse/color/top1"] == 0
    assert figures["attreval/refseg/refined/location/top1"] == 1
    assert figures["attreval/refseg/coarse/location/top1"] == 0
    assert figures["attreval/refseg/refined/color/prob"] == pytest.approx((0.625 + 0.125 + 0.5 + 0) / 4)
    assert figures["attreval/refseg/refined/color/mean_rank"] == pytest.approx((1 + 3 + 1 + 3) / 4)
    assert figures["attreval/refseg/refined/top1"] == pytest.approx(3 / 5), "over all kinds"
    assert figures["attreval/refseg/refined/missing"] == pytest.approx(1 / 5)
    assert figures["attreval/refseg/refined/color/missing"] == pytest.approx(1 / 4)
    assert "attreval/refseg/refined/location/rho_prob" not in figures, "one object has no rank order"


def test_figures_are_those_of_the_pure_functions():
    figures = evaluate(CASES, draws=100)
    witnesses = [
        Witness(f"image {index}", value, words("c", **probs)["c"] if probs else None, iou)
        for index, value, probs, iou in (
            (0, "red", {"red": 0.1, "blue": 0.2, "gray": 0.3}, 0.2),
            (1, "blue", {"red": 0.1, "blue": 0.2, "gray": 0.3}, 0.5),
            (1, "gray", {"red": 0.1, "blue": 0.3, "gray": 0.25}, 0.9),
            (3, "gray", None, 0.0),
        )
    ]
    own = {name.rsplit("/", 1)[1]: value for name, value in figures.items() if "/coarse/color/" in name}
    rho = correlate([1 / 6, 1 / 3, 0.25 / 0.65], [0.2, 0.5, 0.9], [0, 1, 1], draws=100)
    rho_rank = correlate([-3, -2, -2], [0.2, 0.5, 0.9], [0, 1, 1], draws=100)
    expected = attribute_figures(witnesses)
    for name, found in (("rho_prob", rho), ("rho_rank", rho_rank)):
        expected |= {name: found.rho, f"{name}_low": found.low, f"{name}_high": found.high}
    assert own == pytest.approx(expected)


def test_a_file_of_records_and_one_of_figures(tmp_path):
    figures = evaluate(CASES, dump=tmp_path / "records.jsonl", out_file=tmp_path / "figures.json")
    entries = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert [entry["record_id"] for entry in entries] == list("01234")
    first, missing = entries[0], entries[3]
    assert (first["ann_id"], first["attribute"], first["value"], first["image"]) == (100, "color", "red", "image 0")
    assert first["refined_rank"] == 1 and first["coarse_rank"] == 3
    assert first["refined_iou"] == 1 and first["coarse_iou"] == pytest.approx(0.2)
    assert first["refined_prob"] == pytest.approx(0.625) and first["refined_mass"] == pytest.approx(0.8)
    assert math.exp(first["refined_words"]["gray"]) == pytest.approx(0.2)
    assert missing["missing_seg"] and missing["refined_iou"] == 0 and "refined_rank" not in missing
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["figures"] == figures and written["settings"]["draws"] == 2000


def test_records_with_another_truth_are_left_to_other_metrics():
    question = sample_of(TARGET, source="attreval/vqa", truth=AnswerTruth(label="yes"), index=5)
    figures = evaluate([*CASES, (question, GroundedText("Yes"))])
    assert figures == evaluate(CASES)
    with pytest.raises(ValueError, match="no record has an attribute to look for"):
        evaluate([(replace(question, index=0), GroundedText("Yes"))])


def test_a_model_that_was_not_asked_for_the_words():
    sample, answer = CASES[0]
    (span,) = answer.spans
    silent = GroundedText("thing.", (replace(span, words=None, coarse_words=None),))
    with pytest.raises(ValueError, match=r"record 0: the model was asked for no words of 'color'.*seg_words"):
        SegWitnessMetric().score(sample, silent)
    other = replace(sample, truth=AttributeTruth("location", "left", 1))
    with pytest.raises(ValueError, match="no words of 'location' at its <seg> .but for 'color'"):
        SegWitnessMetric().score(other, answer)
    lacking = replace(sample, truth=AttributeTruth("color", "mauve", 1))
    with pytest.raises(ValueError, match=r"record 0: 'mauve' is no value of the set 'red', 'blue', 'gray'"):
        SegWitnessMetric().score(lacking, answer)
    with pytest.raises(ValueError, match="draws must be positive"):
        SegWitnessMetric(draws=0)


def test_masks_of_another_size_are_an_error():
    sample, answer = CASES[0]
    (span,) = answer.spans
    wrong = GroundedText("thing.", (replace(span, mask=np.zeros((3, 3), bool)),))
    with pytest.raises(ValueError, match="record 0"):
        SegWitnessMetric().score(sample, wrong)


def test_without_ilvc_one_state_serves_both_stages():
    sample, answer = CASES[0]
    (span,) = answer.spans
    alone = GroundedText("thing.", (replace(span, coarse_mask=None, coarse_words=None),))
    witnesses = SegWitnessMetric().score(sample, alone).witnesses
    assert witnesses["coarse"] == witnesses["refined"]
