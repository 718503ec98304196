"""ChairMetric: which image an answer is of, and that its scores are those of the functions and files."""

import json
from dataclasses import replace

import pytest
from test_refer_seg_metric import sample_of

from lira_plugin.evaluation import ChairMetric
from lira_plugin.evaluation.chair_files import score_chair_file
from lira_plugin.structures import GroundedText

TEXTS = {"7": "A dog and a cat.", "8": "Two dogs", "x": "A cat."}
"""By record id; the image of the last is known by its file."""


@pytest.fixture
def truth(tmp_path):
    path = tmp_path / "instances.json"
    content = {
        "images": [{"id": 7}, {"id": 8}, {"id": 9, "file_name": "val/COCO_9.jpg"}],
        "annotations": [{"image_id": 7, "category_id": 3}, {"image_id": 9, "category_id": 3}],
        "categories": [{"id": 3, "name": "dog"}],
    }
    path.write_text(json.dumps(content))
    return path


def sample(record_id, index, source="caption/val"):
    return replace(sample_of(source=source, record_id=record_id, index=index), image_key="images/COCO_9.jpg")


def test_scores_are_those_of_a_file(truth, tmp_path):
    out, dump, lines = tmp_path / "chair.json", tmp_path / "captions.json", tmp_path / "lines.jsonl"
    metric = ChairMetric(truth, out_file=out, dump=dump)
    metric.take_settings({"max_new_tokens": 5})
    for index, (record_id, text) in enumerate(TEXTS.items()):
        metric.process({"data_samples": [sample(record_id, index)]}, [GroundedText(text)])
    metric.process({"data_samples": [sample("8", 3, "other")]}, [GroundedText("")])
    scores = metric.evaluate(4)
    answers = [{"record_id": key, "image": "COCO_9.jpg", "text": text} for key, text in TEXTS.items()]
    lines.write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    expected = score_chair_file(lines, truth).scores
    assert {name: scores[f"caption/val/{name}"] for name in expected} == expected
    assert expected["CHAIRs"] == 1.0 and scores["other/CHAIRs"] == 0.0
    written = json.loads(out.read_text())
    assert written.pop("settings")["max_new_tokens"] == 5 and written == scores
    assert [entry["image_id"] for entry in json.loads(dump.read_text())] == ["7", "8", "9", "8"]


def test_an_image_that_is_not_listed_is_refused(truth):
    metric = ChairMetric(truth)
    unknown = replace(sample("x", 0), image_key=None)
    with pytest.raises(ValueError, match=r"caption/val record x: image 'x' is not in .*instances\.json"):
        metric.score(unknown, GroundedText("A dog."))
