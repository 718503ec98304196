"""Scores of named instances against plain loops over pixels, and against the official evaluations of the whole file."""

import contextlib
import copy
import io
import json
import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from support.random_coco import random_coco
from support.random_gcg import SIZE
from test_gcg_scores import block, pixels, plain_mean_iou

from lira_plugin.evaluation.coco_files import score_coco_files
from lira_plugin.evaluation.coco_scores import CocoPrediction, score_instances, summarize_instances
from lira_plugin.evaluation.coco_truth import CocoTruth, read_coco_truth

AP = ("AP", "AP50", "AP75", "APs", "APm", "APl")
AREAS = {"all": (0, 1e10), "s": (0, 1024), "m": (1024, 9216), "l": (9216, 1e10)}


def score(tmp_path, truth: dict, results: list[dict]):
    for name, content in (("truth.json", truth), ("results.json", results)):
        (tmp_path / name).write_text(json.dumps(content))
    return score_coco_files(tmp_path / "results.json", tmp_path / "truth.json")


def official(truth: dict, results: list[dict], coco_class=COCO, evaluation_class=COCOeval) -> list[float]:
    """The first six figures of the official evaluation; it cannot read a file without any result."""
    with contextlib.redirect_stdout(io.StringIO()):
        own = coco_class()
        own.dataset = copy.deepcopy(truth)
        own.createIndex()
        evaluation = evaluation_class(own, own.loadRes(copy.deepcopy(results)), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats[:6]]


def plain_overlap(found: set, truth: set, is_crowd: bool) -> float:
    """Of a crowd, only the share of what was found counts."""
    whole = found if is_crowd else found | truth
    return len(found & truth) / len(whole) if found & truth else 0.0


def plain_matches(found: list, truths: list, threshold: float, low: float, high: float) -> tuple[list, int]:
    """(score, right, counts) of each result of one image and category, surest first; and the count of true objects."""
    ignored = [crowd or not low <= area <= high for _, crowd, area in truths]
    order = sorted(range(len(truths)), key=lambda index: ignored[index])
    taken, lines = set(), []
    for certainty, mask in sorted(found, key=lambda one: -one[0])[:100]:
        best, partner = min(threshold, 1 - 1e-10), None
        for index in order:
            truth, crowd, _ = truths[index]
            if index in taken and not crowd:
                continue
            if partner is not None and not ignored[partner] and ignored[index]:
                break
            value = plain_overlap(mask, truth, crowd)
            if value >= best:
                best, partner = value, index
        if partner is not None:
            taken.add(partner)
        counts = not ignored[partner] if partner is not None else low <= len(mask) <= high
        lines.append((certainty, partner is not None, counts))
    return lines, len(truths) - sum(ignored)


def plain_precision(lines: list, total: int) -> float:
    """Mean over 101 recalls of the best precision at that recall or a greater one."""
    right = wrong = 0
    points = []
    for _, is_right, counts in sorted(lines, key=lambda line: -line[0]):
        right, wrong = right + (counts and is_right), wrong + (counts and not is_right)
        points.append((right / total, right / (right + wrong + np.spacing(1))))
    return (
        sum(
            max((precision for recall, precision in points if recall >= step), default=0.0)
            for step in np.linspace(0, 1, 101)
        )
        / 101
    )


def by_loops(truth: dict, results: list[dict]) -> dict[str, float]:
    images = sorted(image["id"] for image in truth["images"])
    categories = [category["id"] for category in truth["categories"]]
    own = [(entry, pixels(entry["segmentation"])) for entry in truth["annotations"]]
    said = [(entry, pixels(entry["segmentation"])) for entry in results]
    figures = {}
    for area, (low, high) in AREAS.items():
        for threshold in np.linspace(0.5, 0.95, 10):
            values = []
            for category in categories:
                lines, total = [], 0
                for image in images:
                    mine = {"image_id": image, "category_id": category}
                    truths = [(m, e["iscrowd"], e["area"]) for e, m in own if mine.items() <= e.items()]
                    found = [(e["score"], m) for e, m in said if mine.items() <= e.items()]
                    more, count = plain_matches(found, truths, threshold, low, high)
                    lines, total = lines + more, total + count
                if total:
                    values.append(plain_precision(lines, total))
            figures[area, round(float(threshold), 2)] = sum(values) / len(values) if values else None
    ious, named, empty, right = [], [], 0, 0
    for image in images:
        truths = [(e["category_id"], m) for e, m in own if e["image_id"] == image and not e["iscrowd"] and m]
        found = [(e["category_id"], m) for e, m in said if e["image_id"] == image]
        if not truths:
            empty, right = empty + 1, right + (not found)
            continue
        ious.append(plain_mean_iou([m for _, m in found if m], [m for _, m in truths]))
        # of another category is as good as without a common pixel
        apart = [{(c, *pixel) for pixel in m} for c, m in found if m], [{(c, *pixel) for pixel in m} for c, m in truths]
        named.append(plain_mean_iou(*apart))

    def mean(values: list) -> float:
        values = [value for value in values if value is not None]
        return sum(values) / len(values) if values else -1.0

    return {
        "AP": mean([figures["all", round(float(t), 2)] for t in np.linspace(0.5, 0.95, 10)]),
        "AP50": mean([figures["all", 0.5]]),
        "AP75": mean([figures["all", 0.75]]),
        **{f"AP{area}": mean([v for (name, _), v in figures.items() if name == area]) for area in "sml"},
        "mIoU": mean(ious),
        "mIoU_category": mean(named),
        "images": len(images),
        "missing": len(set(images) - {entry["image_id"] for entry in results}),
        "empty": empty,
        "empty_right": right,
        "masks": len(results),
        "without_category": 0,
    }


@pytest.mark.parametrize("seed", range(20))
def test_as_by_loops(seed, tmp_path):
    truth, results = random_coco(seed)
    assert score(tmp_path, truth, results).scores == pytest.approx(by_loops(truth, results), abs=1e-9)


@pytest.mark.parametrize("seed", [seed for seed in range(40) if seed % 10 < 8])
def test_as_pycocotools(seed, tmp_path):
    truth, results = random_coco(seed)
    found = score(tmp_path, truth, results).scores
    assert [found[name] for name in AP] == official(truth, results)


def test_as_faster_coco_eval(tmp_path):
    faster = pytest.importorskip("faster_coco_eval")
    for seed in range(8):
        truth, results = random_coco(seed)
        found = score(tmp_path, truth, results).scores
        expected = official(truth, results, faster.COCO, faster.COCOeval_faster)
        assert [found[name] for name in AP] == pytest.approx(expected, abs=1e-9)


def test_the_random_figures_differ():
    """Else the loops above compare nothing."""
    found = [by_loops(*random_coco(seed)) for seed in range(8)]
    assert all(
        len({round(one[name], 6) for one in found}) > 3 for name in ("AP", "AP50", "APs", "mIoU", "mIoU_category")
    )
    assert any(one["mIoU"] > one["mIoU_category"] for one in found) and any(one["empty"] for one in found)
    assert any(one["APm"] > 0 for one in found) and any(one["APl"] > 0 for one in found)


def test_what_there_is_nothing_of(tmp_path):
    truth, _ = random_coco(0)
    found = score(tmp_path, truth, [])
    assert [found.scores[name] for name in ("AP", "AP50", "mIoU", "mIoU_category", "masks")] == [0, 0, 0, 0, 0]
    assert found.scores["missing"] == found.scores["images"] == 7
    assert found.scores["empty_right"] == found.scores["empty"]
    nothing = score(tmp_path, truth | {"annotations": []}, []).scores
    assert [nothing[name] for name in (*AP, "mIoU", "mIoU_category")] == [-1.0] * 8 and nothing["empty_right"] == 7
    (own,) = [entry["id"] for entry in truth["images"]][:1]
    wrong = {"image_id": own, "category_id": 7, "segmentation": block(2, 2), "score": 0.5}
    assert score(tmp_path, truth | {"annotations": []}, [wrong]).scores["empty_right"] == 6
    with pytest.raises(ValueError, match="no image to score"):
        summarize_instances([])


def test_unknown_images_and_categories_are_counted_and_left_out(tmp_path):
    truth, results = random_coco(1)
    expected = score(tmp_path, truth, results)
    more = [results[0] | {"image_id": "other"}, results[0] | {"category_id": 99}]
    found = score(tmp_path, truth, results + more)
    assert found.unknown == 1 and found.scores == expected.scores | {"without_category": 1}


def test_results_of_dumped_answers(tmp_path):
    """An instance scores the probability of its phrase times that of its mask, whatever the case of its phrase."""
    truth, results = random_coco(2)
    expected = score(tmp_path, truth, results)
    names = {7: " Dog", 3: "TRAFFIC  light", 12: "cat"}
    lines = []
    for image in truth["images"]:
        spans = [
            {"phrase": names[entry["category_id"]], "segmentation": entry["segmentation"], "score": entry["score"] / 0.25,
             "phrase_prob": 0.25}
            for entry in results if entry["image_id"] == image["id"]
        ]  # fmt: skip
        spans.append({"phrase": "dogs", "segmentation": block(1, 1), "score": 1.0, "phrase_prob": None})
        lines.append({"source": "val/with", "record_id": str(image["id"]), "image": None, "spans": spans})
        lines.append(lines[-1] | {"source": "val/without", "spans": []})
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = score_coco_files(tmp_path / "answers.jsonl", tmp_path / "truth.json", "val/with")
    changes = {"without_category": 7, "missing": 0, "empty_right": 0}
    assert found.scores == pytest.approx(expected.scores | changes)
    with pytest.raises(ValueError, match="lines 1 and 2 are both of image"):
        score_coco_files(tmp_path / "answers.jsonl", tmp_path / "truth.json")
    with pytest.raises(ValueError, match="no line whose 'source' is 'test'"):
        score_coco_files(tmp_path / "answers.jsonl", tmp_path / "truth.json", "test")
    with pytest.raises(ValueError, match="which has no sources"):
        score_coco_files(tmp_path / "results.json", tmp_path / "truth.json", "val/with")


def test_areas_are_those_of_the_annotations():
    truth = CocoTruth("t", 1, SIZE, (0,), (block(4, 4),), (5000.0,), (False,))
    said = CocoPrediction("p", (0,), (block(4, 4),), (0.5,))
    scores = summarize_instances([score_instances(truth, said)])
    assert [scores[name] for name in ("AP", "APs", "APm", "APl")] == pytest.approx([1, -1, 1, -1])
    counted = CocoTruth("t", 1, SIZE, (0,), (block(4, 4),), (None,), (False,))
    scores = summarize_instances([score_instances(counted, said)])
    assert [scores[name] for name in ("AP", "APs", "APm", "APl")] == pytest.approx([1, 1, -1, -1])


def test_a_crowd_need_not_be_found(tmp_path):
    truth = CocoTruth("t", 1, SIZE, (0,), (block(8, 8),), (None,), (True,))
    said = CocoPrediction("p", (0, 0), (block(4, 4), block(2, 2)), (0.5, 0.4))
    scored = score_instances(truth, said)
    assert (scored.truth_count, scored.mean_iou) == (0, None) and summarize_instances([scored])["AP"] == -1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": math.inf}, "the result at position 1: the score of a mask must be a finite number, got inf"),
        ({"score": 10**400}, "the result at position 1: the score of a mask must be a finite number, got a whole"),
        ({"score": True}, "the result at position 1: the score of a mask must be a finite number, got True"),
        ({"category_id": [7]}, r"the result at position 1: 'category_id' must be a whole number or a text, got \[7\]"),
        ({"segmentation": block(1, 1) | {"size": [13, 9]}}, "image 5: mask 0: the mask is 13x9 but the image is 9x13"),
        ({"segmentation": 7}, "image 5: mask 0: a"),
    ],
)
def test_broken_results_are_named(tmp_path, change, message):
    images = [{"id": number, "height": SIZE[0], "width": SIZE[1]} for number in (4, 5)]
    truth = {"images": images, "annotations": [], "categories": [{"id": 7, "name": "dog"}]}
    fine = {"image_id": 4, "category_id": 7, "segmentation": block(1, 1), "score": 0.5}
    with pytest.raises(ValueError, match=message):
        score(tmp_path, truth, [fine, fine | {"image_id": 5} | change])
    with pytest.raises(ValueError, match="the result at position 0 lacks score"):
        score(tmp_path, truth, [{key: value for key, value in fine.items() if key != "score"}])
    with pytest.raises(ValueError, match="must be COCO's results JSON"):
        score(tmp_path, truth, {"results": [fine]})


ANNOTATION = {"id": 1, "image_id": 4, "category_id": 7, "segmentation": block(1, 1)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"categories": None}, "is not a COCO file of instances"),
        ({"images": []}, "names image 4, which the file does not have"),
        ({"categories": []}, "names category 7, which the file does not have"),
        ({"images": [{"id": 4, "height": "9", "width": 13}]}, "image at position 0, .*Expected `int`, got `str`"),
        ({"images": [{"id": 4, "height": 0, "width": 13}]}, "image 4 is 0 x 13 pixels"),
        ({"images": [{"id": 4, "height": 9, "width": 13}] * 2}, "image 4 occurs twice"),
        ({"annotations": [], "images": []}, "lists no image"),
        ({"annotations": [ANNOTATION | {"area": 10**400}]}, "annotation 1 has the area a whole .*number of pixels"),
        ({"annotations": [ANNOTATION | {"area": math.nan}]}, "annotation 1 has the area nan; it must be a number"),
        ({"annotations": [{"id": 1, "image_id": 4, "category_id": 7}]}, "annotation at position 0, .*`segmentation`"),
    ],
)
def test_a_broken_truth_is_named(tmp_path, change, message):
    truth = {
        "images": [{"id": 4, "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [ANNOTATION],
        "categories": [{"id": 7, "name": "dog"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    assert read_coco_truth(tmp_path / "truth.json").images["4"].areas == (None,)
    (tmp_path / "truth.json").write_text(json.dumps(truth | change))
    with pytest.raises(ValueError, match=message):
        read_coco_truth(tmp_path / "truth.json")


@pytest.mark.parametrize("part", ["images", "annotations", "categories"])
@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, "1"), ("1", 1), ("x", "x")])
def test_ids_that_are_the_same_are_refused(tmp_path, part, first, second):
    truth = {
        "images": [{"id": 4, "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [{"id": 5, "image_id": 4, "category_id": 7, "segmentation": block(1, 1)}],
        "categories": [{"id": 7, "name": "dog"}],
    }
    (entry,) = truth[part]
    truth[part] = [entry, entry | {"id": first}, entry | {"id": second}]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    with pytest.raises(ValueError, match=rf"{second!r} (occurs twice|has the same id as \w+ {first!r}); ids must be"):
        read_coco_truth(tmp_path / "truth.json")


@pytest.mark.parametrize("ids", [(1, 2), ("x", 1), (2, "x"), (0, 1), ("a", "b")])
def test_what_annotations_are_called_does_not_count(tmp_path, ids):
    blocks = [block(1, 1), block(5, 5)]
    truth = {
        "images": [{"id": 4, "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [
            {"id": own, "image_id": 4, "category_id": 7, "segmentation": mask} for own, mask in zip(ids, blocks)
        ],
        "categories": [{"id": 7, "name": "dog"}],
    }
    results = [{"image_id": 4, "category_id": 7, "segmentation": mask, "score": 0.5} for mask in blocks]
    assert score(tmp_path, truth, results).scores["AP"] == pytest.approx(1.0)


def test_two_categories_of_one_name(tmp_path):
    categories = [{"id": 1, "name": "Dog"}, {"id": 2, "name": "dog "}]
    content = {"images": [{"id": 1, "height": 1, "width": 1}], "annotations": [], "categories": categories}
    (tmp_path / "truth.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="'Dog' and 'dog ' have the same name"):
        read_coco_truth(tmp_path / "truth.json").index_of_name()


def test_no_mask_is_kept(tmp_path):
    truth, results = random_coco(0)
    images = score(tmp_path, truth, results).images
    assert "counts" not in repr(images) and coco_mask.area(results[0]["segmentation"]) >= 0
