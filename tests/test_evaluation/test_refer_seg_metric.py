"""ReferSegMetric against plain Python over pixels."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.processes import on_two_processes

from lira_plugin.evaluation import ReferSegMetric, refer_seg_metric
from lira_plugin.structures import (
    GroundedSpan,
    GroundedText,
    GroundingSample,
    Letterbox,
    Region,
    encode_mask,
)

SHAPE = (11, 17)
NONE = np.zeros(SHAPE, bool)


def block(rows: int, columns: int) -> np.ndarray:
    """A mask of ``rows * columns`` pixels in the upper left corner."""
    mask = np.zeros(SHAPE, bool)
    mask[:rows, :columns] = True
    return mask


def sample_of(*targets: np.ndarray, source="refcoco/val", record_id="1", shape=SHAPE, **kwargs) -> GroundingSample:
    """A sample whose one region has ``targets`` as its parts; none means no target."""
    nothing = torch.zeros(0, dtype=torch.long)
    kwargs.setdefault("regions", (Region("thing", tuple(encode_mask(target) for target in targets)),))
    kwargs.setdefault("letterbox", Letterbox(*shape, size=64))
    kwargs.setdefault("index", 0)
    return GroundingSample(
        source=source,
        record_id=record_id,
        input_ids=nothing,
        labels=nothing,
        kinds=nothing,
        pixel_images=torch.zeros(0, 3, 4, 4),
        tiles=torch.zeros(0, 3, 4, 4),
        tile_counts=(),
        view_tiles=torch.zeros(0, 3, 4, 4),
        masks=torch.zeros(0, 4, 4, dtype=torch.bool),
        mask_labels=nothing,
        seg_mask_index=nothing,
        question=f"Please segment thing {record_id}.",
        **kwargs,
    )


def answer_of(mask: np.ndarray | None, coarse: np.ndarray | None = None) -> GroundedText:
    if mask is None:
        return GroundedText("There is no thing.")
    return GroundedText("thing.", (GroundedSpan(0, 5, "thing", mask, coarse),))


def numbered(pairs):
    """The pairs with their places in the data set."""
    return [(replace(sample, index=place), answer) for place, (sample, answer) in enumerate(pairs)]


def evaluate(pairs, **kwargs) -> dict[str, float]:
    metric = ReferSegMetric(**kwargs)
    pairs = numbered(pairs)
    for start in range(0, len(pairs), 3):  # batches of three
        chunk = pairs[start : start + 3]
        metric.process({"data_samples": [sample for sample, _ in chunk]}, [answer for _, answer in chunk])
    return metric.evaluate(len(pairs))


def box_overlap(pred_pixels, target_pixels) -> float:
    """IoU of the boxes around two sets of pixels, by listing the pixels of the boxes."""
    filled = []
    for pixels in (pred_pixels, target_pixels):
        rows, columns = {row for row, _ in pixels}, {column for _, column in pixels}
        inside = set()
        if pixels:
            for row in range(min(rows), max(rows) + 1):
                inside |= {(row, column) for column in range(min(columns), max(columns) + 1)}
        filled.append(inside)
    both, either = filled[0] & filled[1], filled[0] | filled[1]
    return len(both) / len(either) if either else 0.0


def by_loop(cases, min_pixels=0, skip_missing=False) -> dict[str, float]:
    """The scores of (prediction or None, target) pairs, pixel by pixel, straight from the definitions."""
    sum_i = sum_u = 0
    ious, target_ious, boxes, rejected, found, missing = [], [], [], [], [], 0
    for prediction, target in cases:
        pred_pixels, target_pixels = set(), set()
        for row in range(SHAPE[0]):
            for column in range(SHAPE[1]):
                if prediction is not None and prediction[row, column]:
                    pred_pixels.add((row, column))
                if target[row, column]:
                    target_pixels.add((row, column))
        if len(pred_pixels) < min_pixels:
            pred_pixels = set()
        missing += prediction is None
        if prediction is None and skip_missing:
            iou = 0.0
        else:
            sum_i += len(pred_pixels & target_pixels)
            sum_u += len(pred_pixels | target_pixels)
            if target_pixels or pred_pixels:
                iou = len(pred_pixels & target_pixels) / len(pred_pixels | target_pixels)
            else:
                iou = 1.0
        ious.append(iou)
        if target_pixels:
            target_ious.append(iou)
            boxes.append(box_overlap(pred_pixels, target_pixels))
            found.append(bool(pred_pixels))
        else:
            rejected.append(not pred_pixels)
    scores = {"cIoU": sum_i / sum_u, "gIoU": sum(ious) / len(ious), "missing_seg": missing / len(cases)}
    for threshold in (0.5, 0.6, 0.7, 0.8, 0.9):
        scores[f"P@{threshold}"] = sum(iou >= threshold for iou in target_ious) / len(target_ious)
    scores["box_P@0.5"] = sum(overlap >= 0.5 for overlap in boxes) / len(boxes)
    if rejected:
        scores["N-acc"] = sum(rejected) / len(rejected)
        scores["T-acc"] = sum(found) / len(found)
    return scores


def random_cases(seed: int, with_empty: bool):
    """(refined, coarse, target): overlapping noise, missing answers and, on demand, sentences without target."""
    rng = np.random.default_rng(seed)
    cases = []
    for number in range(24):
        target = block(rng.integers(2, 12), rng.integers(2, 18))
        if with_empty and number % 4 == 0:
            target = NONE
        flip = rng.random(SHAPE) < rng.choice([0, 0.02, 0.1, 0.3])
        refined = None if number % 7 == 5 else (NONE if number % 5 == 4 else target ^ flip)
        coarse = None if refined is None else refined & (rng.random(SHAPE) < 0.8)
        cases.append((refined, coarse, target))
    return cases


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("with_empty", [False, True])
@pytest.mark.parametrize("options", [{}, {"min_pixels": 12}, {"skip_missing": True}])
def test_scores_equal_a_loop_over_pixels(seed, with_empty, options):
    cases = random_cases(seed, with_empty)
    pairs = [
        (sample_of(*([target] if target.any() else []), record_id=str(number)), answer_of(refined, coarse))
        for number, (refined, coarse, target) in enumerate(cases)
    ]
    got = evaluate(pairs, **options)
    expected = {}
    for stage, column in (("refined", 0), ("coarse", 1)):
        scores = by_loop([(case[column], case[2]) for case in cases], **options)
        expected["refcoco/val/missing_seg"] = scores.pop("missing_seg")
        expected.update({f"refcoco/val/{stage}/{name}": value for name, value in scores.items()})
    assert got == pytest.approx(expected, abs=1e-12)
    assert all(type(value) is float for value in got.values())
    assert ("refcoco/val/refined/N-acc" in got) == with_empty


def test_sources_are_scored_apart():
    pairs = [
        (sample_of(block(4, 4), source="refcoco/val"), answer_of(block(4, 4))),
        (sample_of(block(4, 4), source="refcoco+/testA"), answer_of(block(4, 2))),
        (sample_of(block(4, 4), source="refcoco/val"), answer_of(block(2, 4))),
    ]
    got = evaluate(pairs)
    assert got["refcoco/val/refined/cIoU"] == 24 / 32
    assert got["refcoco+/testA/refined/cIoU"] == 0.5
    assert {key.rsplit("/", 1)[0] for key in got} == {
        "refcoco/val/refined",
        "refcoco/val/coarse",
        "refcoco/val",
        "refcoco+/testA/refined",
        "refcoco+/testA/coarse",
        "refcoco+/testA",
    }


def test_a_prefix_goes_in_front():
    got = evaluate([(sample_of(block(4, 4)), answer_of(block(4, 4)))], prefix="ema")
    assert got["ema/refcoco/val/refined/cIoU"] == 1


def test_coarse_falls_back_to_the_mask():
    got = evaluate([(sample_of(block(4, 4)), answer_of(block(4, 2), None))])
    assert got["refcoco/val/coarse/cIoU"] == got["refcoco/val/refined/cIoU"] == 0.5


def test_thresholds_include_their_value():
    got = evaluate([(sample_of(block(10, 10)), answer_of(block(9, 10)))])
    assert got["refcoco/val/refined/P@0.9"] == 1
    got = evaluate([(sample_of(block(10, 10)), answer_of(block(10, 5)))])
    assert (got["refcoco/val/refined/P@0.5"], got["refcoco/val/refined/P@0.6"]) == (1, 0)


def test_parts_of_the_ground_truth_are_united():
    got = evaluate([(sample_of(block(4, 4), block(2, 8)), answer_of(block(4, 4) | block(2, 8)))])
    assert got["refcoco/val/refined/cIoU"] == 1


def test_a_missing_seg_costs_its_object_unless_skipped():
    pairs = [(sample_of(block(4, 4)), answer_of(block(4, 4))), (sample_of(block(4, 4)), answer_of(None))]
    got, skipped = evaluate(pairs), evaluate(pairs, skip_missing=True)
    assert got["refcoco/val/refined/cIoU"] == 0.5 and skipped["refcoco/val/refined/cIoU"] == 1
    assert got["refcoco/val/refined/gIoU"] == skipped["refcoco/val/refined/gIoU"] == 0.5
    assert got["refcoco/val/missing_seg"] == skipped["refcoco/val/missing_seg"] == 0.5


def test_without_a_target_only_an_empty_mask_is_right():
    pairs = [(sample_of(), answer_of(prediction)) for prediction in (None, NONE, block(1, 1), block(9, 9))]
    got = evaluate(pairs)
    assert got["refcoco/val/refined/gIoU"] == got["refcoco/val/refined/N-acc"] == 0.5
    assert got["refcoco/val/refined/cIoU"] == 0
    assert "refcoco/val/refined/P@0.5" not in got and "refcoco/val/refined/T-acc" not in got
    lenient = evaluate(pairs, min_pixels=50)
    assert lenient["refcoco/val/refined/N-acc"] == lenient["refcoco/val/refined/gIoU"] == 0.75
    assert evaluate(pairs[:1], skip_missing=True)["refcoco/val/refined/gIoU"] == 0


@pytest.mark.parametrize("prediction", [None, NONE, block(1, 1)], ids=["no seg", "empty", "a pixel"])
@pytest.mark.parametrize("empty", [(NONE,), ()], ids=["all zero", "nothing"])
def test_an_annotation_without_a_pixel_is_no_no_target(prediction, empty):
    """Finding nothing is not right: the annotation says that there is something."""
    region = Region("thing", tuple(encode_mask(target) for target in empty) or ([],))
    logged = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refer_seg_metric, "print_log", lambda message, **settings: logged.append(message))
        got = evaluate([(sample_of(regions=(region,), record_id="7-3"), answer_of(prediction))])
    scores = {name: value for name, value in got.items() if "/refined/" in name}
    assert set(scores.values()) == {0.0} and "refcoco/val/refined/P@0.5" in scores
    assert "refcoco/val/refined/N-acc" not in scores
    assert len(logged) == 1 and "refcoco/val: the masks of 1 of 1 sentences have no pixel (7-3)" in logged[0]


def test_all_masks_rightly_empty_is_perfect():
    got = evaluate([(sample_of(), answer_of(NONE))] * 2)
    assert got["refcoco/val/refined/cIoU"] == got["refcoco/val/refined/gIoU"] == 1


def test_every_answer_skipped_scores_zero():
    got = evaluate([(sample_of(block(3, 3)), answer_of(None))], skip_missing=True)
    assert got["refcoco/val/refined/cIoU"] == got["refcoco/val/refined/gIoU"] == 0


def test_only_the_first_span_counts():
    first = GroundedSpan(0, 5, "thing", block(4, 4))
    second = GroundedSpan(6, 11, "other", block(11, 17))
    got = evaluate([(sample_of(block(4, 4)), GroundedText("thing other", (first, second)))])
    assert got["refcoco/val/refined/cIoU"] == 1


def test_a_sample_that_pads_the_last_batch_counts_once():
    metric = ReferSegMetric()
    pairs = [(sample_of(block(4, 4)), answer_of(block(4, 4)))] * 2
    metric.process({"data_samples": [sample for sample, _ in pairs]}, [answer for _, answer in pairs])
    assert metric.evaluate(1)["refcoco/val/refined/gIoU"] == 1


def test_the_image_gives_the_size_without_a_letterbox():
    sample = sample_of(block(4, 4), letterbox=None, image=np.zeros((*SHAPE, 3), np.uint8))
    assert evaluate([(sample, answer_of(block(4, 4)))])["refcoco/val/refined/gIoU"] == 1


def test_the_dump_has_one_row_a_sentence(tmp_path):
    path = tmp_path / "new" / "rows.json"
    pairs = [
        (sample_of(block(4, 4), record_id="a", image_key="a.jpg"), answer_of(block(4, 2), block(4, 1))),
        (sample_of(record_id="b", source="grefcoco/val"), answer_of(None)),
    ]
    evaluate(pairs, dump=str(path))
    first, second = json.loads(path.read_text())
    assert (first["source"], first["record_id"], first["image"], first["question"], first["text"]) == (
        "refcoco/val",
        "a",
        "a.jpg",
        "Please segment thing a.",
        "thing.",
    )
    assert (first["refined_I"], first["refined_U"], first["refined_iou"]) == (8, 16, 0.5)
    assert (first["coarse_I"], first["coarse_U"], first["coarse_iou"]) == (4, 16, 0.25)
    assert (second["record_id"], second["missing_seg"], second["refined_iou"], second["target_pixels"]) == (
        "b",
        True,
        1,
        0,
    )


def test_what_cannot_be_scored_is_an_error():
    good = answer_of(block(4, 4))
    with pytest.raises(ValueError, match=r"refcoco/val record 1: .* has 0"):
        evaluate([(sample_of(regions=()), good)])
    with pytest.raises(ValueError, match=r"refcoco/val record 1: .* has 2"):
        evaluate([(sample_of(regions=(Region("a", ()), Region("b", ()))), good)])
    with pytest.raises(ValueError, match="refcoco/val record 1: .* image size is unknown"):
        evaluate([(sample_of(block(4, 4), letterbox=None), good)])
    with pytest.raises(ValueError, match=r"refcoco/val record 1: the refined mask is \(3, 3\)"):
        evaluate([(sample_of(block(4, 4)), answer_of(np.zeros((3, 3), bool)))])
    with pytest.raises(ValueError, match="refcoco/val record 1: the mask is 11x17 but the image is 5x5"):
        evaluate([(sample_of(block(4, 4), shape=(5, 5)), good)])
    with pytest.raises(ValueError, match="1 answers to 2 samples"):
        ReferSegMetric().process({"data_samples": [sample_of(), sample_of()]}, [good])
    with pytest.raises(ValueError, match="-1"):
        ReferSegMetric(min_pixels=-1)


def _score_on_rank(rank: int, pairs) -> dict[str, float]:
    metric = ReferSegMetric()
    mine = pairs[rank::2]
    metric.process({"data_samples": [sample for sample, _ in mine]}, [answer for _, answer in mine])
    return metric.evaluate(5)


def test_two_processes_score_as_one():
    cases = random_cases(0, with_empty=True)[:5]
    pairs = numbered([(sample_of(target), answer_of(refined, coarse)) for refined, coarse, target in cases])
    alone = evaluate(pairs)
    padded = [*pairs, pairs[0]]  # as a distributed sampler pads
    assert on_two_processes(_score_on_rank, padded) == [pytest.approx(alone)] * 2
    assert not any(math.isnan(value) for value in alone.values())


@pytest.mark.parametrize(
    "mask",
    [np.full(SHAPE, 0.4), np.ones(SHAPE, np.float32), np.ones(SHAPE, np.uint8), block(2, 2)[None], np.ones(5, bool)],
)
def test_only_masks_of_bool_are_scored(mask):
    """Of probabilities every pixel that is not exactly 0 would have counted."""
    with pytest.raises(ValueError, match=r"refcoco/val record 1: the refined mask must be bool of shape \(H, W\), got"):
        ReferSegMetric().score(sample_of(block(2, 2)), answer_of(mask))


def test_an_answer_is_a_grounded_text():
    with pytest.raises(ValueError, match="refcoco/val record 1: the answer must be a GroundedText, got dict"):
        ReferSegMetric().score(sample_of(block(2, 2)), {"spans": []})


def spans_of(*masks: np.ndarray, scores=None, seg_prob=None) -> GroundedText:
    scores = scores or [0.0] * len(masks)
    spans = tuple(GroundedSpan(0, 5, "thing", mask, None, score) for mask, score in zip(masks, scores))
    return GroundedText("thing.", spans, seg_prob=seg_prob)


def test_all_spans_are_united_where_asked():
    other = block(11, 17) & ~block(4, 17)
    pairs = [(sample_of(block(4, 17), other), spans_of(block(4, 17), other))]
    assert evaluate(pairs)["refcoco/val/refined/cIoU"] == 68 / 187
    assert evaluate(pairs, spans="union")["refcoco/val/refined/cIoU"] == 1
    with pytest.raises(ValueError, match="'last'"):
        ReferSegMetric(spans="last")


def test_several_rules_of_pixels_stand_side_by_side():
    cases = random_cases(1, with_empty=True)
    pairs = [
        (sample_of(*([target] if target.any() else []), record_id=str(number)), answer_of(refined, coarse))
        for number, (refined, coarse, target) in enumerate(cases)
    ]
    both, plain, ruled = evaluate(pairs, min_pixels=[0, 50]), evaluate(pairs), evaluate(pairs, min_pixels=50)
    assert plain.items() <= both.items()
    assert {f"{name}_50px": value for name, value in ruled.items() if "/refined/" in name}.items() <= both.items()
    with pytest.raises(ValueError, match="empty list"):
        ReferSegMetric(min_pixels=())


def test_ignored_pixels_count_neither_for_nor_against():
    def ignoring(*targets, ignored):
        region = Region("thing", tuple(map(encode_mask, targets)), ignored=(encode_mask(ignored),))
        return sample_of(regions=(region,))

    wrong = [(ignoring(block(4, 4), ignored=block(4, 17)), answer_of(block(4, 9)))]
    assert evaluate(wrong)["refcoco/val/refined/gIoU"] == 1  # all of it is ignored, and nothing else is in the mask
    part = [(ignoring(block(4, 4), ignored=block(2, 17)), answer_of(block(4, 2)))]
    assert evaluate(part)["refcoco/val/refined/cIoU"] == 0.5
    assert evaluate(part)["refcoco/val/refined/box_P@0.5"] == 1
    beside = [(ignoring(block(2, 4), ignored=block(2, 17)), answer_of(block(3, 1)))]
    assert evaluate(beside)["refcoco/val/refined/gIoU"] == 0


def test_sources_are_combined():
    pairs = [
        (sample_of(block(4, 4), source="reasonseg/val/short"), answer_of(block(4, 4))),
        (sample_of(block(4, 4), source="reasonseg/val/long"), answer_of(block(4, 2))),
    ]
    groups = {"all": ["reasonseg/val/short", "reasonseg/val/long", "absent"], "none": ["absent"]}
    got = evaluate(pairs, combined=groups)
    assert (got["all/refined/gIoU"], got["reasonseg/val/long/refined/gIoU"]) == (0.75, 0.5)
    assert not any(name.startswith("none") for name in got)


def test_presence_empties_masks_that_are_not_believed():
    """Without a target the masks have low scores: all of them are rejected, and no right one is."""
    pairs = []
    for number in range(12):
        sure = 0.9 - 0.01 * number
        pairs.append((sample_of(block(4, 4), record_id=f"a{number}"), spans_of(block(4, 4), scores=[sure])))
        pairs.append((sample_of(record_id=f"b{number}"), spans_of(block(4, 4), scores=[1 - sure], seg_prob=0.5)))
    got = evaluate(pairs, presence=True)
    presence = {name: got[f"refcoco/val/presence/{name}"] for name in ("MCC", "N-acc", "T-acc", "gIoU", "cIoU")}
    assert presence == dict.fromkeys(presence, 1)
    assert 0 < got["refcoco/val/presence/threshold"] < 1
    assert (got["refcoco/val/refined/N-acc"], got["refcoco/val/refined/gIoU"]) == (0, 0.5)
    assert not any("presence" in name for name in evaluate(pairs[::2], presence=True))


def test_the_result_file_states_what_the_figures_depend_on(tmp_path):
    data = tmp_path / "refs.json"
    data.write_bytes(b"abc")
    metric = ReferSegMetric(skip_missing=True, out_file=tmp_path / "new" / "result.json", presence=True)
    metric.take_settings({"data": {"refcoco/val": {"files": [str(data)], "per": "object", "tiles": [4, 12]}}})
    metric.process({"data_samples": [sample_of(block(4, 4))]}, [answer_of(block(4, 4))])
    figures = metric.evaluate(1)
    written = json.loads((tmp_path / "new" / "result.json").read_text())
    assert written["figures"] == figures
    settings = written["settings"]
    assert settings["answers_without_seg"] == "skipped" and settings["spans"] == "first"
    assert settings["min_pixels"] == [0] and settings["mask_stages"] == ["refined", "coarse"]
    own = settings["data"]["refcoco/val"]
    assert (own["per"], own["tiles"]) == ("object", [4, 12])
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2
    assert own["files"] == {str(data): known}
