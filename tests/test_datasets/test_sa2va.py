"""Sa2VA's fine-tune files, their polygons painted by pycocotools."""

import json

import numpy as np
import pytest
from support.people_files import CAT, CUP, POLYGONS, decoded, rle_of, sa2va, write_json

from lira_plugin.datasets import Draw, Sa2vaDataset
from lira_plugin.settings import WrongSetting


def test_each_phrase_has_the_union_of_its_own_polygons(tmp_path):
    data = Sa2vaDataset(sa2va(tmp_path), str(tmp_path / "images"))
    records = [data.get_record(index, None) for index in range(len(data))]
    assert [record.record_id for record in records] == ["0-0", "0-1", "1-0"]
    for record, phrase, mask in zip(records, ("the cat", "the cup", "a cup"), (CAT, CUP, CUP)):
        (region,) = record.regions
        assert region.phrase == phrase and np.array_equal(decoded(region.segmentations), mask)
        assert record.conversation.turns[0].question == f"Please segment {phrase}."
    assert records[2].image_path == str(tmp_path / "images" / "b.png")


def test_training_draws_phrases_of_an_image(tmp_path):
    identity = [lambda results: results]
    data = Sa2vaDataset(sa2va(tmp_path), str(tmp_path / "images"), identity, num_expressions=1)
    assert len(data) == 2
    asked = {data[Draw(0, draw)]["record"].regions[0].phrase for draw in range(12)}
    assert asked == {"the cat", "the cup"}
    assert [len(record.regions) for record in data.whole_records(0)] == [1, 1]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"image": "a.png", "mask": [[POLYGONS["cat"]]], "text": ["a", "b"]}, "1 masks, 2 phrases"),
        ({"image": "a.png", "mask": [3], "text": ["a"]}, r"mask\[0\]"),
        ({"image": "a.png", "mask": [[POLYGONS["cat"]]], "text": [None]}, r"text\[0\]"),
        ({"image": " ", "mask": [], "text": []}, "'image'"),
        ({"mask": [], "text": []}, "lacks 'image'"),
        ({"image": "a.png", "mask": [[POLYGONS["cat"]]], "text": ["a\ud800"]}, "surrogate"),
        ("x", "an object"),
    ],
)
def test_a_bad_entry_is_named_or_left_out(tmp_path, entry, said):
    path = sa2va(tmp_path)
    write_json(tmp_path / "annotations.json", [*json.loads((tmp_path / "annotations.json").read_text()), entry])
    with pytest.raises(ValueError, match=rf"annotations\.json: record 2 .*{said}"):
        Sa2vaDataset(path, "images")
    data = Sa2vaDataset(path, "images", on_bad_record="skip")
    assert len(data) == 3 and [finding.record for finding in data.findings] == ["2"]


def test_masks_without_a_pixel_are_left_out_of_a_training_alone(tmp_path):
    empty = rle_of(np.zeros_like(CAT))
    path = write_json(tmp_path / "a.json", [{"image": "a.png", "mask": [empty, rle_of(CAT)], "text": ["x", "y"]}])
    assert len(Sa2vaDataset(path, "images")) == 2
    assert [len(record.regions) for record in Sa2vaDataset(path, "images", num_expressions=3).whole_records(0)] == [1]


def test_wrong_settings(tmp_path):
    with pytest.raises(ValueError, match="positive"):
        Sa2vaDataset(sa2va(tmp_path), "images", num_expressions=0)
    with pytest.raises(WrongSetting, match="num_expressions"):
        Sa2vaDataset("a.json", "images", num_expressions="3")
    with pytest.raises(WrongSetting, match="'image_root'"):
        Sa2vaDataset("a.json", "images", image_rot="x")
