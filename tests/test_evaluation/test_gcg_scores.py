"""Scores of grounded captions against plain loops over pixels, and against COCOeval on the whole split."""

import contextlib
import io
import json
import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from support.random_gcg import SIZE, random_gcg, write_gcg

from lira_plugin.evaluation.gcg_files import score_gcg_files
from lira_plugin.evaluation.gcg_scores import GCGPrediction, score_image, summarize
from lira_plugin.evaluation.text_similarity import exact_similarity
from lira_plugin.structures import GCGTruth, encode_mask


def pixels(rle: dict) -> set[tuple[int, int]]:
    mask = coco_mask.decode(rle)
    return {(row, column) for row in range(SIZE[0]) for column in range(SIZE[1]) if mask[row, column]}


def overlap(one: set, two: set) -> float:
    return len(one & two) / len(one | two) if one | two else math.nan


def same(one: str, two: str) -> bool:
    return one.lower().strip() == two.lower().strip()


def plain_mean_iou(found: list[set], truths: list[set]) -> float:
    """Take the best pair away again and again; a NaN ends it."""
    found, truths, ious = list(enumerate(found)), list(enumerate(truths)), []
    while found and truths:
        pairs = [(overlap(one, two), -i, -j) for i, one in found for j, two in truths]
        if any(math.isnan(value) for value, _, _ in pairs):
            return 0.0
        value, i, j = max(pairs)
        if value == 0:
            break
        ious.append(value)
        found = [entry for entry in found if entry[0] != -i]
        truths = [entry for entry in truths if entry[0] != -j]
    return sum(ious) / len(ious) if ious else 0.0


def plain_recall(found: list[set], phrases: list[str], truths: list[set], labels: list[str], stops: bool) -> int:
    """With ``stops``, as GLaMM's code: the first pair that fails ends it, a NaN is first of all, a missing phrase loses all."""
    pairs = []
    for j, truth in enumerate(truths):
        for i, mask in enumerate(found):
            value = overlap(mask, truth)
            pairs.append((math.inf if math.isnan(value) else value, j, i))
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    used_truths, used, count = set(), set(), 0
    for value, j, i in pairs:
        if j in used_truths or i in used:
            continue
        if not stops:
            if 0.5 <= value <= 1 and i < len(phrases) and j < len(labels) and same(phrases[i], labels[j]):
                count += 1
                used_truths.add(j)
                used.add(i)
            continue
        if value < 0.5:
            break
        if i >= len(phrases) or j >= len(labels):
            return 0
        if not same(phrases[i], labels[j]):
            break
        count += 1
        used_truths.add(j)
        used.add(i)
    return count


def coco_ap50(masks: dict, predictions: dict, own_scores: bool) -> float:
    """COCOeval over the whole split, with its own thresholds and areas."""
    found = [
        {"image_id": image["id"], "category_id": 1, "segmentation": rle, "score": score if own_scores else 1.0}
        for image in masks["images"]
        if (prediction := predictions.get(image["id"]))
        for rle, score in zip(prediction["pred_masks"], prediction["scores"])
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = masks
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found) if found else COCO(), "segm")
        evaluation.params.catIds = [1]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1])


def by_loops(masks: dict, captions: dict, predictions: dict) -> dict[str, float]:
    ious, recalled, fixed, phrases, without = [], 0, 0, 0, 0
    for image, caption in zip(captions["images"], captions["annotations"]):
        truths = [pixels(entry["segmentation"]) for entry in masks["annotations"] if entry["image_id"] == image["id"]]
        prediction = predictions.get(image["id"], {"phrases": [], "pred_masks": []})
        found = [pixels(rle) for rle in prediction["pred_masks"]]
        ious.append(plain_mean_iou(found, truths))
        phrases += len(caption["labels"])
        recalled += plain_recall(found, prediction["phrases"], truths, caption["labels"], stops=True)
        fixed += plain_recall(found, prediction["phrases"], truths, caption["labels"], stops=False)
        without += not found
    return {
        "AP50": coco_ap50(masks, predictions, own_scores=False),
        "AP50_scored": coco_ap50(masks, predictions, own_scores=True),
        "mIoU": sum(ious) / len(ious),
        "Recall": recalled / phrases if phrases else 0.0,
        "Recall_fixed": fixed / phrases if phrases else 0.0,
        "images": len(ious),
        "missing": len(ious) - len(predictions),
        "without_mask": without,
    }


@pytest.mark.parametrize("seed", range(40))
def test_as_by_loops(seed, tmp_path):
    content = random_gcg(seed)
    predictions, truth = write_gcg(tmp_path, *content)
    if not any(predictions.iterdir()):
        (predictions / "other.json").write_text("{}")
    expected = by_loops(*content)
    if not content[2] or not any(entry["pred_masks"] for entry in content[2].values()):
        expected["AP50_scored"] = expected["AP50"]
    found = score_gcg_files(predictions, truth, "val", exact_similarity)
    assert found.scores == pytest.approx(expected, abs=1e-12)


def test_the_two_recalls_differ_on_what_is_random():
    """Else the loops above compare nothing."""
    scores = [by_loops(*random_gcg(seed)) for seed in range(40)]
    assert sum(one["Recall"] < one["Recall_fixed"] for one in scores) > 10
    assert len({one["AP50"] for one in scores}) > 20 and sum(one["AP50"] != one["AP50_scored"] for one in scores) > 10


def block(rows: int, columns: int) -> dict:
    mask = np.zeros(SIZE, bool)
    mask[:rows, :columns] = True
    return encode_mask(mask)


def truth_of(*segmentations: dict, phrases=(), **others) -> GCGTruth:
    count = len(segmentations)
    return GCGTruth(
        "truth",
        "1",
        "1.jpg",
        SIZE,
        ("a dog",),
        phrases,
        segmentations,
        tuple(range(1, count + 1)),
        (False,) * count,
        **others,
    )


def test_one_mask_serves_one_object():
    truth = truth_of(block(4, 4), block(4, 5), phrases=("a dog", "a dog"))
    scores = score_image(
        truth, GCGPrediction("own", phrases=("a dog",), segmentations=(block(4, 4),)), exact_similarity
    )
    assert (scores.recalled, scores.recalled_fixed, scores.mean_iou) == (1, 1, 1.0)
    twice = GCGPrediction("own", phrases=("a dog",) * 2, segmentations=(block(4, 4),) * 2)
    scores = score_image(truth, twice, exact_similarity)
    assert (scores.recalled, scores.recalled_fixed) == (2, 2) and scores.mean_iou == pytest.approx((1 + 0.8) / 2)


def test_recall_stops_at_the_first_pair_that_fails_but_under_another_name():
    truth = truth_of(block(4, 4), block(8, 12), phrases=("a dog", "sky"))
    said = GCGPrediction("own", phrases=("a cat", "sky"), segmentations=(block(4, 4), block(8, 11)))
    scores = score_image(truth, said, exact_similarity)
    assert (scores.recalled, scores.recalled_fixed, scores.phrase_count) == (0, 1, 2)


def test_what_there_is_nothing_of(tmp_path):
    masks, captions, _ = random_gcg(3)
    predictions, truth = write_gcg(
        tmp_path, masks, captions, {"other": {"caption": "", "phrases": [], "pred_masks": []}}
    )
    found = score_gcg_files(predictions, truth, "val", exact_similarity)
    assert found.unknown == 1
    assert found.scores == {
        "AP50": 0.0, "mIoU": 0.0, "Recall": 0.0, "Recall_fixed": 0.0, "images": 6, "missing": 6, "without_mask": 6
    }  # fmt: skip
    empty = {"images": captions["images"], "annotations": []}
    predictions, truth = write_gcg(tmp_path / "empty", masks | {"annotations": []}, empty, {})
    (predictions / f"{masks['images'][0]['id']}.json").write_text(
        json.dumps({"caption": "", "phrases": [], "pred_masks": [block(1, 1)]})
    )
    scores = score_gcg_files(predictions, truth, "val", exact_similarity).scores
    assert (scores["AP50"], scores["mIoU"], scores["Recall"], scores["without_mask"]) == (-1.0, 0.0, 0.0, 5)


def test_the_size_may_be_that_of_the_masks(tmp_path):
    content = random_gcg(0)
    predictions, truth = write_gcg(tmp_path / "with", *content)
    expected = score_gcg_files(predictions, truth, "val", exact_similarity).scores
    for part in content[:2]:
        part["images"] = [{"id": image["id"]} for image in part["images"]]
    predictions, truth = write_gcg(tmp_path / "without", *content)
    assert score_gcg_files(predictions, truth, "val", exact_similarity).scores == expected


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (block(1, 1) | {"size": [13, 9]}, r"mask 1: the mask is 13x9 but the image is 9x13"),
        ({"size": list(SIZE), "counts": "0"}, "mask 1: the runs of the mask are of"),
        ({"size": list(SIZE), "counts": [-1, 118]}, "mask 1: run 0 of the mask"),
        ({"size": "big", "counts": "0"}, "mask 1: the size of an RLE"),
        ("0123", "mask 1: not a COCO segmentation"),
        (7, "mask 1: a polygon needs"),
    ],
)
def test_broken_masks_are_named(segmentation, message):
    said = GCGPrediction("sa_1.json", segmentations=(block(1, 1), segmentation))
    with pytest.raises(ValueError, match=f"sa_1.json: {message}"):
        score_image(truth_of(block(1, 1)), said, exact_similarity)


def test_a_score_for_each_mask():
    with pytest.raises(ValueError, match="own: 2 scores for 1 masks"):
        score_image(truth_of(), GCGPrediction("own", segmentations=(block(1, 1),), scores=(0.5, 0.5)), exact_similarity)


def test_true_masks_of_one_id_are_two():
    truth = truth_of(block(2, 2), block(8, 8), phrases=("a dog", "a cat"))
    same = GCGTruth(**{**truth.__dict__, "annotation_ids": (7, 7)})
    said = GCGPrediction("own", phrases=("a dog", "a cat"), segmentations=(block(2, 2), block(8, 8)))
    assert summarize([score_image(same, said, exact_similarity)])["AP50"] == pytest.approx(1)


def test_crowds_are_left_out_of_ap50_alone():
    truth = truth_of(block(4, 4), phrases=("a dog",))
    crowd = GCGTruth(**{**truth.__dict__, "is_crowd": (True,)})
    said = GCGPrediction("own", phrases=("a dog",), segmentations=(block(4, 4),))
    plain, other = (summarize([score_image(one, said, exact_similarity)]) for one in (truth, crowd))
    assert plain.pop("AP50") == pytest.approx(1) and other.pop("AP50") == -1 and plain == other
