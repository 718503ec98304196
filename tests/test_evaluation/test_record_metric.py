"""Rows of all processes, each once and in order."""

import json
import random

import pytest
from pycocotools import mask as coco_mask
from support.processes import on_two_processes
from test_refer_seg_metric import answer_of, block, sample_of

from lira_plugin.evaluation import DumpAnswers, RecordMetric, in_order
from lira_plugin.evaluation.refer_lines import protocol_of, score_refer_lines
from lira_plugin.structures import GroundedSpan, GroundedText, Region, encode_mask


class Texts(RecordMetric):
    """Says what it got."""

    def score(self, sample, answer):
        return f"{sample.record_id}: {answer.text}"

    def compute_metrics(self, results):
        return {"texts": list(results)}


def feed(metric, indices):
    samples = [sample_of(record_id=str(index), index=index) for index in indices]
    metric.process({"data_samples": samples}, [GroundedText(f"answer {index}") for index in indices])


EXPECTED = [f"{index}: answer {index}" for index in range(7)]


def test_rows_are_in_the_order_of_the_data_set():
    metric = Texts()
    feed(metric, [4, 5, 0, 1])
    feed(metric, [6, 3, 2])
    assert metric.evaluate(7) == {"texts": EXPECTED}
    feed(metric, [0])
    assert metric.evaluate(1) == {"texts": EXPECTED[:1]}, "an evaluation starts anew"
    metric = Texts(prefix="ema")
    feed(metric, [0])
    assert set(metric.evaluate(1)) == {"ema/texts"}


@pytest.mark.parametrize("seed", range(20))
def test_in_order_as_by_sorting(seed):
    rng = random.Random(seed)
    size = rng.randint(1, 12)
    rows = [(index, f"row {index}") for index in [*range(size), *rng.choices(range(size), k=4)]]
    rng.shuffle(rows)
    assert in_order(rows, size) == [row for _, row in sorted(set(rows))]


def test_records_that_nobody_has_are_an_error():
    metric = Texts()
    feed(metric, [0, 2, 5])
    with pytest.raises(ValueError, match=r"4 of 7 records were not answered: index 1, 3, 4, 6;"):
        metric.evaluate(7)
    feed(metric, [0, 1, 2])
    with pytest.raises(ValueError, match="the record of index 2 was answered, but the data set has only 2"):
        metric.evaluate(2)


def test_a_sample_without_its_index_is_an_error():
    with pytest.raises(ValueError, match=r"refcoco/val record 1 does not know its index"):
        Texts().process({"data_samples": [sample_of(index=None)]}, [answer_of(None)])
    with pytest.raises(ValueError, match="1 answers to 2 samples"):
        Texts().process({"data_samples": [sample_of(), sample_of()]}, [answer_of(None)])


SHARES = [[6, 0, 1, 5], [2, 4, 3, 0, 6, 2]], [[0, 1, 2, 3, 4, 5, 6], []]
"""What the two ranks have: unequal, out of order, some records twice; or one has nothing."""


def _evaluate_on_rank(rank: int) -> list:
    results = []
    for shares in SHARES:
        metric = Texts()
        feed(metric, shares[rank])
        results.append(metric.evaluate(7))
    feed(metric, [rank])
    try:
        metric.evaluate(3)
    except ValueError as error:
        results.append(str(error))
    return results


def test_two_processes_with_unequal_shares():
    for whole, lopsided, error in on_two_processes(_evaluate_on_rank):
        assert whole == lopsided == {"texts": EXPECTED}
        assert error.startswith("1 of 3 records were not answered: index 2;"), "every process learns of it"


def test_answers_to_one_region_are_written_with_their_annotation(tmp_path):
    """So that a line is what the scorers of files read."""
    path = tmp_path / "answers.jsonl"
    metric = DumpAnswers(path)
    target, ignored = block(4, 5), block(1, 9)
    ignoring = Region("thing", (encode_mask(target),), ignored=(encode_mask(ignored),))
    samples = [
        sample_of(target, index=0),
        sample_of(index=1, record_id="none"),
        sample_of(regions=(ignoring,), index=2, record_id="ignoring"),
        sample_of(regions=(ignoring, ignoring), index=3, record_id="two"),
    ]
    said = GroundedText("thing.", (GroundedSpan(0, 5, "thing", target, None, 0.75),), seg_prob=0.5)
    metric.process({"data_samples": samples}, [said] * 4)
    metric.evaluate(4)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    one, none, ignores, two = lines
    assert (coco_mask.decode(one["target"]) == target).all() and one["ignore"] is None and one["seg_prob"] == 0.5
    assert none["target"] is None
    assert (coco_mask.decode(ignores["ignore"]) == ignored).all()
    assert "target" not in two
    scored = score_refer_lines([("line", line) for line in lines[:3]], protocol_of("refseg"))
    assert [line.scores[0].iou for line in scored.lines] == [1, 0, 1]


def test_answers_are_written_in_order_with_masks_as_rle(tmp_path):
    path = tmp_path / "new" / "answers.jsonl"
    metric = DumpAnswers(path)
    mask, coarse = block(4, 5), block(3, 9)
    said = GroundedText("ein 猫.", (GroundedSpan(4, 5, "猫", mask, coarse, 0.75),), "raw", False)
    samples = [
        sample_of(record_id="b", source="gcg/val", index=1, image_key="b.jpg"),
        sample_of(record_id="a", source="vqa/val", index=0),
    ]
    metric.process({"data_samples": samples}, [said, GroundedText("yes")])
    assert metric.evaluate(2) == {
        "vqa/val/answers": 1,
        "vqa/val/finished": 1,
        "vqa/val/spans": 0,
        "gcg/val/answers": 1,
        "gcg/val/finished": 0,
        "gcg/val/spans": 1,
    }
    first, second = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert (first["record_id"], first["image"], first["text"], first["spans"]) == ("a", None, "yes", [])
    assert (second["source"], second["image"], second["question"]) == ("gcg/val", "b.jpg", "Please segment thing b.")
    assert (second["text"], second["raw_text"], second["finished"]) == ("ein 猫.", "raw", False)
    [span] = second["spans"]
    assert (span["start"], span["end"], span["phrase"], span["score"]) == (4, 5, "猫", 0.75)
    assert (coco_mask.decode(span["segmentation"]) == mask).all()
    assert (coco_mask.decode(span["coarse_segmentation"]) == coarse).all()
