"""GCGMetric: which masks and words of an answer count, and what it refuses. Its scores are tested with its functions."""

import json

import pytest
from pycocotools import mask as coco_mask
from support.random_gcg import SIZE, random_gcg, write_gcg
from test_refer_seg_metric import sample_of

from lira_plugin.evaluation import GCGMetric
from lira_plugin.evaluation.gcg_files import score_gcg_files
from lira_plugin.evaluation.text_similarity import exact_similarity
from lira_plugin.structures import GroundedSpan, GroundedText


def answer_of(prediction: dict, coarse: bool) -> GroundedText:
    """The prediction as an answer, in its coarse or refined masks; the others are empty."""
    spans = []
    for phrase, rle, score in zip(prediction["phrases"], prediction["pred_masks"], prediction["scores"]):
        mask = coco_mask.decode(rle).astype(bool)
        pair = (mask & False, mask) if coarse else (mask, mask & False)
        spans.append(GroundedSpan(0, 0, f" {phrase}", *pair, score=score))
    return GroundedText(f"'{prediction['caption']}\n' ", tuple(spans))


@pytest.mark.parametrize("coarse", [False, True])
def test_scores_are_those_of_files(coarse, tmp_path):
    masks, captions, predictions = random_gcg(5, images=9)
    for prediction in predictions.values():  # an answer has a phrase for each mask
        del prediction["pred_masks"][len(prediction["phrases"]) :], prediction["scores"][len(prediction["phrases"]) :]
    for image in captions["images"]:
        nothing = {"image_id": image["id"], "caption": "", "phrases": [], "pred_masks": [], "scores": []}
        predictions.setdefault(image["id"], nothing)
    folder, truth = write_gcg(tmp_path, masks, captions, predictions)
    stage = "coarse" if coarse else "refined"
    out, dump = tmp_path / "scores.json", tmp_path / "images.json"
    metric = GCGMetric(str(truth), ("val",), mask_stage=stage, out_file=out, dump=dump)
    metric.take_settings({"tiles": 6})
    for index, image_id in enumerate(predictions):
        sample = sample_of(source="gcg/val", record_id=image_id, index=index, shape=SIZE)
        metric.process({"data_samples": [sample]}, [answer_of(predictions[image_id], coarse)])
        assert "counts" not in repr(metric.results), "no mask is kept"
    scores = metric.evaluate(len(predictions))
    expected = score_gcg_files(folder, truth, "val", exact_similarity)
    assert scores == {f"gcg/val/{name}": value for name, value in expected.scores.items()}
    assert 0 < scores["gcg/val/Recall"] < 1 and 0 < scores["gcg/val/AP50"] < 1
    written = json.loads(out.read_text())
    assert written.pop("settings").items() >= {"tiles": 6, "mask_stage": stage, "similarity": "exact"}.items()
    assert written == scores
    rows = {row["image_id"]: row for row in json.loads(dump.read_text())}
    assert all(rows[one.image_id] == {"source": "gcg/val"} | one.to_json() for one in expected.images)


def test_what_it_refuses(tmp_path):
    _, truth = write_gcg(tmp_path, *random_gcg(1))
    metric = GCGMetric(str(truth), ("val",))
    for sample in (sample_of(source="gcg/val", record_id="sa_1000"), sample_of(source="gcg/test", record_id="sa_1")):
        with pytest.raises(
            ValueError, match=rf"{sample.source} record .*no such image; it was read for the splits \['val'\]"
        ):
            metric.process({"data_samples": [sample]}, [GroundedText("")])
    with pytest.raises(ValueError, match="mask_stage of GCGMetric must be 'refined' or 'coarse', got 'fine'"):
        GCGMetric(str(truth), ("val",), mask_stage="fine")
    with pytest.raises(FileNotFoundError, match="test_gcg_coco_mask_gt.json"):
        GCGMetric(str(truth))
