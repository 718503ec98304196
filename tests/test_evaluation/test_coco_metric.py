"""CocoInstanceMetric: which masks and words of an answer count, and what it refuses. Its scores are tested with its functions."""

import json

import pytest
from pycocotools import mask as coco_mask
from support.random_coco import CATEGORIES, random_coco
from support.random_gcg import SIZE
from test_refer_seg_metric import sample_of

from lira_plugin.evaluation import CocoInstanceMetric
from lira_plugin.evaluation.coco_files import score_coco_files
from lira_plugin.structures import GroundedSpan, GroundedText


def answer_of(results: list[dict], coarse: bool) -> GroundedText:
    """Results of an image as an answer, in its coarse or refined masks; the others are empty. One mask is of no category."""
    spans = []
    for entry in results:
        mask = coco_mask.decode(entry["segmentation"]).astype(bool)
        pair = (mask & False, mask) if coarse else (mask, mask & False)
        sure, unsure = entry["score"] / 0.5, 0.0
        own, other = (unsure, sure) if coarse else (sure, unsure)
        phrase = f" {CATEGORIES[entry['category_id']].upper()} "
        spans.append(GroundedSpan(0, 0, phrase, *pair, score=own, phrase_prob=0.5, coarse_score=other))
    spans += [GroundedSpan(0, 0, "the dog", *pair, score=1.0, phrase_prob=1.0)] if spans else []
    return GroundedText("", tuple(spans))


@pytest.mark.parametrize("coarse", [False, True])
def test_scores_are_those_of_files(coarse, tmp_path):
    truth, results = random_coco(5)
    for name, content in (("truth.json", truth), ("results.json", results)):
        (tmp_path / name).write_text(json.dumps(content))
    out, folder = tmp_path / "scores.json", tmp_path / "results"
    stage = "coarse" if coarse else "refined"
    metric = CocoInstanceMetric(str(tmp_path / "truth.json"), stage, out_file=out, results_dir=folder)
    metric.take_settings({"tiles": 6})
    images = [image["id"] for image in truth["images"]]
    for index, (source, image_id) in enumerate([("val/a", image_id) for image_id in images] + [("val/b", images[0])]):
        own = [entry for entry in results if entry["image_id"] == image_id]
        sample = sample_of(source=source, record_id=str(image_id), index=index, shape=SIZE)
        metric.process({"data_samples": [sample]}, [answer_of(own, coarse)])
    scores = metric.evaluate(len(images) + 1)
    expected = score_coco_files(tmp_path / "results.json", tmp_path / "truth.json").scores
    answered = len({entry["image_id"] for entry in results})
    assert {name: scores[f"val/a/{name}"] for name in expected} == pytest.approx(
        expected | {"missing": 0, "without_category": answered}
    )
    assert (scores["val/b/missing"], scores["val/b/images"]) == (len(images) - 1, len(images))
    written = json.loads(out.read_text())
    settings = written.pop("settings")
    assert written == scores and settings.items() >= {"tiles": 6, "mask_stage": stage}.items()
    assert set(settings["ground_truth"]) == {"path", "sha256"}
    own = score_coco_files(folder / "val_a.json", tmp_path / "truth.json").scores
    kept = expected.keys() - {"missing", "empty_right", "without_category"}
    assert {name: own[name] for name in kept} == {name: scores[f"val/a/{name}"] for name in kept}


def test_no_mask_is_kept_unless_results_are_written(tmp_path):
    truth, results = random_coco(5)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    metric = CocoInstanceMetric(str(tmp_path / "truth.json"))
    image_id = results[0]["image_id"]
    own = [entry for entry in results if entry["image_id"] == image_id]
    metric.process({"data_samples": [sample_of(record_id=str(image_id), index=0, shape=SIZE)]}, [answer_of(own, False)])
    assert "counts" not in repr(metric.results)


def test_no_answer_has_a_mask(tmp_path):
    truth, _ = random_coco(5)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    metric = CocoInstanceMetric(str(tmp_path / "truth.json"), results_dir=tmp_path)
    for index, image in enumerate(truth["images"]):
        sample = sample_of(source="val", record_id=str(image["id"]), index=index, shape=SIZE)
        metric.process({"data_samples": [sample]}, [GroundedText("There is no object of these categories.")])
    scores = metric.evaluate(len(truth["images"]))
    assert (scores["val/AP"], scores["val/mIoU"], scores["val/masks"]) == (0, 0, 0)
    assert json.loads((tmp_path / "val.json").read_text()) == []


def test_what_it_refuses(tmp_path):
    truth, results = random_coco(5)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    metric = CocoInstanceMetric(str(tmp_path / "truth.json"))
    with pytest.raises(ValueError, match=r"record 9999: .*truth.json has no image '9999'"):
        metric.process({"data_samples": [sample_of(record_id="9999", index=0)]}, [GroundedText("")])
    mask = coco_mask.decode(results[0]["segmentation"])
    answer = GroundedText("", (GroundedSpan(0, 0, "dog", mask),))
    with pytest.raises(ValueError, match="must be bool"):
        metric.process({"data_samples": [sample_of(record_id=str(results[0]["image_id"]), index=0)]}, [answer])
    with pytest.raises(ValueError, match="mask_stage of CocoInstanceMetric must be 'refined' or 'coarse', got 'fine'"):
        CocoInstanceMetric(str(tmp_path / "truth.json"), mask_stage="fine")
