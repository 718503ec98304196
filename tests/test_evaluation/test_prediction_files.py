"""Files of predictions: one record at a time, and every fault with the file, the record and the value."""

import hashlib
import json
import re
from types import SimpleNamespace

import pytest
from pycocotools import mask as coco_mask
from support.random_gcg import random_gcg, write_gcg
from test_refer_seg_metric import block

from lira_plugin.evaluation.gcg_files import image_id_of, parse_prediction, score_gcg_files
from lira_plugin.evaluation.prediction_files import Entry, file_hash, open_predictions
from lira_plugin.evaluation.text_similarity import exact_similarity
from lira_plugin.structures import GroundedSpan, GroundedText


def score(predictions, truth):
    return score_gcg_files(predictions, truth, "val", exact_similarity)


def test_lines_and_wrapped_objects_score_as_a_folder_of_files(tmp_path):
    masks, captions, predictions = random_gcg(7)
    folder, truth = write_gcg(tmp_path, masks, captions, predictions)
    expected = score(folder, truth).scores
    lines = tmp_path / "lines.jsonl"
    lines.write_text("\n\n".join(json.dumps(entry) for entry in predictions.values()))
    assert score(lines, truth).scores == expected and expected["mIoU"] > 0
    lines.write_text("".join(json.dumps({key: entry}) + "\n" for key, entry in predictions.items()))
    with pytest.raises(ValueError, match="line 1 does not say which image it is about"):
        score(lines, truth)
    for key, entry in predictions.items():
        (folder / f"{key}.json").write_text(json.dumps({key: entry}))
    assert score(folder, truth).scores == expected


def test_lines_of_dumped_answers_are_read():
    answer = GroundedText("a dog", (GroundedSpan(2, 5, "dog", block(3, 4), score=0.25),)).to_json()
    said = parse_prediction(Entry("line 1", answer))
    assert (said.caption, said.phrases, said.scores) == ("a dog", ("dog",), (0.25,))
    assert (coco_mask.decode(said.segmentations[0]) == block(3, 4)).all()
    entry = Entry("line 1", {"record_id": 12, "image": "folder/sa_1.jpg"} | answer)
    assert image_id_of(entry, {"12", "sa_1"}) == "12" and image_id_of(entry, {"sa_1"}) == "sa_1"
    assert image_id_of(entry, {}) == "12"


SOUND = {"image_id": "a", "caption": "", "phrases": [], "pred_masks": []}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"caption": None}, "'caption' must be or hold str, got None"),
        ({"phrases": "dog"}, "'phrases' must be or hold list, got 'dog'"),
        ({"phrases": [1]}, "'phrases' must be or hold str, got 1"),
        ({"pred_masks": {}}, "'pred_masks' must be or hold list"),
        ({"scores": [float("nan")]}, "the score of a mask must be a finite number, got nan"),
        ({"spans": [3]}, "'spans' must be or hold dict, got 3"),
        ({"spans": []}, "lacks 'text'"),
    ],
)
def test_broken_predictions_are_named(change, message):
    with pytest.raises(ValueError, match=f"a.json.*{re.escape(message)}"):
        parse_prediction(Entry("a.json", SOUND | change))


def test_broken_files_are_named(tmp_path):
    lines = tmp_path / "lines.jsonl"
    for text, message in (
        (json.dumps(SOUND) + "\n{", "lines.jsonl, line 2 is not a JSON file"),
        ("[1]", r"lines.jsonl, line 1 must hold an object, it holds \[1\]"),
        ((json.dumps(SOUND) + "\n") * 2, "lines.jsonl: lines 1 and 2 are both of image 'a'"),
    ):
        lines.write_text(text)
        with pytest.raises(ValueError, match=message):
            open_predictions(lines, lambda entry: entry.content["image_id"])
    (tmp_path / "b.json").write_text("[]")
    folder = open_predictions(tmp_path, str)
    assert folder.ids() == {"b"} and folder.read("c") is None
    with pytest.raises(ValueError, match="b.json must hold an object"):
        folder.read("b")
    for missing in ("nowhere", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(FileNotFoundError, match=missing):
            open_predictions(tmp_path / missing, str)


def test_one_image_at_a_time_is_read(tmp_path, monkeypatch):
    """The masks of an image are let go before those of the next are read."""
    masks, captions, predictions = random_gcg(7)
    folder, truth = write_gcg(tmp_path, masks, captions, predictions)
    from lira_plugin.evaluation import gcg_files

    events = []
    parse, score_image = gcg_files.parse_prediction, gcg_files.score_image
    monkeypatch.setattr(gcg_files, "parse_prediction", lambda entry: events.append("read") or parse(entry))
    monkeypatch.setattr(gcg_files, "score_image", lambda *given: events.append("scored") or score_image(*given))
    images = score(folder, truth).images
    assert "read,read" not in ",".join(events) and events.count("read") == len(predictions)
    assert "counts" not in repr(images), "no mask is kept"


def test_hashes_are_those_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * (3 << 20))
    assert file_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_id_that_is_neither_text_nor_number():
    with pytest.raises(ValueError, match="does not say which image"):
        image_id_of(SimpleNamespace(name="line 1", content={"image_id": None}), {})
