"""The readers of AttrEval: pairs of questions in the official layout and ours, and expressions with a missing attribute."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from lira_plugin.datasets import AttrSegDataset, AttrVqaDataset
from lira_plugin.datasets.findings import BadRecords
from lira_plugin.structures import AnswerTruth, AttributeTruth, Conversation, Record, Turn, encode_mask

RNG = np.random.default_rng(0)
OFFICIAL = [
    {
        "image": f"COCO_train2014_{index // 2:012}.jpg",
        "question": f"Is the front guy in {color}? Please answer yes or no.",
        "question_id": index,
        "answer": answer,
    }
    for index, (color, answer) in enumerate([("red", "yes"), ("blue", "no"), ("white", "no"), ("black", "yes")])
]


def lines_file(folder, entries, blank=False):
    path = folder / "lines.jsonl"
    path.write_text(("\n\n" if blank else "\n").join(json.dumps(entry) for entry in entries))
    return str(path)


def records(data):
    return [data.get_record(index, RNG) for index in range(len(data))]


@pytest.mark.parametrize("blank", [False, True])
def test_the_official_file_is_read_in_pairs(tmp_path, blank):
    read = records(AttrVqaDataset(lines_file(tmp_path, OFFICIAL, blank), "coco"))
    assert [record.conversation.turns[0].question for record in read] == [line["question"] for line in OFFICIAL]
    assert [record.truth.label for record in read] == ["yes", "no", "no", "yes"]
    assert [record.truth.group for record in read] == ["0", "0", "1", "1"]
    assert {record.truth.category for record in read} == {""}
    assert read[2].image_path == "coco/COCO_train2014_000000000001.jpg"


def test_further_keys_are_read_and_annotation_is_an_answer(tmp_path):
    ours = [{**line, "attribute": "color", "value": "red", "ann_id": 7} for line in OFFICIAL[:2]]
    theirs = [{**line, "annotation": line.pop("answer").title()} for line in map(dict, OFFICIAL[2:])]
    read = records(AttrVqaDataset(lines_file(tmp_path, ours + theirs), "coco"))
    assert [record.truth.category for record in read] == ["color", "color", "", ""]
    assert [record.truth.label for record in read] == ["yes", "no", "no", "yes"]


def test_one_id_for_both_questions_of_a_pair_is_no_fault(tmp_path):
    same = [{**line, "question_id": line["question_id"] // 2} for line in OFFICIAL]
    names = [record.record_id for record in records(AttrVqaDataset(lines_file(tmp_path, same), "coco"))]
    assert names == ["0-0", "0-1", "1-2", "1-3"]


def test_a_line_without_a_partner_is_named(tmp_path):
    path = lines_file(tmp_path, OFFICIAL[:3])
    with pytest.raises(BadRecords, match="record 2 .*the last line has no partner"):
        AttrVqaDataset(path, "coco")
    assert len(AttrVqaDataset(path, "coco", on_bad_record="skip")) == 2
    with pytest.raises(ValueError, match="first must be even, got 3"):
        AttrVqaDataset(lines_file(tmp_path, OFFICIAL), "coco", first=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "maybe"}, "'answer' must be 'yes' or 'no': got 'maybe'"),
        ({"answer": None}, "'answer' must be 'yes' or 'no': got None"),
        ({"attribute": "size"}, "'attribute' must be one of category, location, color: got 'size'"),
        ({"question": " "}, "the question is blank"),
    ],
)
def test_a_bad_line_is_named_and_skipped_with_its_partner(tmp_path, change, message):
    """The pairs after it stay pairs: they are those of the file, not of what is left."""
    path = lines_file(tmp_path, [OFFICIAL[0] | change, *OFFICIAL[1:]])
    with pytest.raises(BadRecords, match=message):
        AttrVqaDataset(path, "coco")
    data = AttrVqaDataset(path, "coco", on_bad_record="skip")
    assert [(record.record_id, record.truth.group) for record in records(data)] == [("2", "1"), ("3", "1")]
    assert {finding.record for finding in data.findings} == {"0", "1"}


def seg_lines():
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:5] = True
    common = {"image": "a.jpg", "image_id": 5, "height": 6, "width": 8, "segmentation": encode_mask(mask)}
    return [
        {"id": 0, "ann_id": 50, "expression": "Front guy", "attribute": "color", "value": "red", **common},
        {"id": 1, "ann_id": 51, "expression": "silver car", "attribute": "location", "value": "left", **common},
    ], mask


def test_an_expression_carries_the_attribute_that_it_leaves_out(tmp_path):
    lines, _ = seg_lines()
    first, second = records(AttrSegDataset(lines_file(tmp_path, lines), "coco"))
    assert first.truth == AttributeTruth("color", "red", 50) and second.truth == AttributeTruth("location", "left", 51)
    assert first.conversation.turns[0].question == "Please segment front guy."
    assert first.conversation.turns[0].answer == "front guy."
    assert (first.image_path, first.size) == ("coco/a.jpg", (6, 8))
    assert first.regions[0].phrase == "front guy" and first.regions[0].segmentations == (lines[0]["segmentation"],)


def test_kinds_and_counts_can_be_taken(tmp_path):
    path = lines_file(tmp_path, seg_lines()[0])
    assert [record.truth.kind for record in records(AttrSegDataset(path, "coco", attributes=("location",)))] == [
        "location"
    ]
    assert len(AttrSegDataset(path, "coco", first=1)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attribute": "shape"}, "'attribute' must be one of category, location, color: got 'shape'"),
        ({"value": " "}, "'value' must be a text that is not blank"),
        ({"expression": ""}, "'expression' must be a text that is not blank"),
        ({"id": 1}, "its id occurs twice"),
        ({"segmentation": "a"}, "segmentation"),
    ],
)
def test_a_bad_expression_is_named_or_skipped(tmp_path, change, message):
    lines, _ = seg_lines()
    path = lines_file(tmp_path, [lines[1], lines[0] | change])
    with pytest.raises(BadRecords, match=message):
        AttrSegDataset(path, "coco")
    assert len(AttrSegDataset(path, "coco", on_bad_record="skip")) == 1


def test_a_store_of_records_gives_an_attribute_back():
    """Both kinds of truth are told apart by a store, whose decoder knows the type of a record alone."""
    coder = msgspec.msgpack
    record = Record("a", "0", None, Conversation((Turn("?", "!"),)), truth=AttributeTruth("color", "red", 7))
    assert coder.decode(coder.encode(record), type=Record) == record
    answered = replace(record, truth=AnswerTruth(label="yes"))
    assert coder.decode(coder.encode(answered), type=Record) == answered
