"""Files of predictions against plain loops that restate ReLA's, LISA's and this project's rules."""

import json

import numpy as np
import pytest

from lira_plugin.evaluation.presence import matthews
from lira_plugin.evaluation.refer_lines import protocol_of, score_refer_file, score_refer_lines
from lira_plugin.structures import encode_mask

SHAPE = (12, 15)


def blob(rng, size=None) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    height, width = size or rng.integers(1, 12, 2)
    top, left = rng.integers(0, SHAPE[0] - height + 1), rng.integers(0, SHAPE[1] - width + 1)
    mask[top : top + height, left : left + width] = True
    return mask & (rng.random(SHAPE) < 0.9)


def random_lines(seed: int, with_ignore: bool = False, verdicts: bool = False) -> list[dict]:
    """Lines with every degenerate case: no answer, an empty one, two masks, no target, a target without a pixel, all ignored."""
    rng = np.random.default_rng(seed)
    empty = np.zeros(SHAPE, bool)
    lines = []
    for index in range(60):
        target = [None, empty, blob(rng), blob(rng), blob(rng)][rng.integers(5)]
        near = blob(rng) if target is None else target ^ (rng.random(SHAPE) < rng.choice([0, 0.05, 0.2]))
        answer = [None, [], [empty], [near], [near], [near, blob(rng)]][rng.integers(6)]
        line = {
            "record_id": index,
            "segmentation": answer if answer is None else [encode_mask(mask) for mask in answer],
            "target": None if target is None else encode_mask(target),
            "score": float(rng.random() * (0.3 if target is None else 1)),
        }
        if answer and len(answer) == 1:
            line["segmentation"] = line["segmentation"][0]
        if with_ignore:
            ignore = [None, empty, blob(rng), target if target is not None else empty][rng.integers(4)]
            line["ignore"] = None if ignore is None else encode_mask(ignore)
        if verdicts:
            line["says_no_target"] = bool(rng.random() < 0.5)
        line["raw"] = (answer, target, ignore if with_ignore else None)
        lines.append(line)
    return lines


def pixels(mask) -> set[tuple[int, int]]:
    if mask is None:
        return set()
    return {(row, column) for row in range(SHAPE[0]) for column in range(SHAPE[1]) if mask[row, column]}


def by_rela(lines, min_pixels: int = 0) -> dict[str, float]:
    """ReLA's evaluator over sets of pixels; an empty mask is the verdict where the model gives none."""
    ious, sum_i, sum_u, hits, counts = [], 0, 0, {0.7: 0, 0.8: 0, 0.9: 0}, [0, 0, 0, 0]
    for line in lines:
        answer, target, _ = line["raw"]
        pred, truth = set().union(*(pixels(mask) for mask in answer or [])), pixels(target)
        small = len(pred) < min_pixels
        pred = set() if small else pred
        says_nothing = line.get("says_no_target", not pred) or small
        if target is None:
            counts[0 if says_nothing else 1] += 1
            ious.append(1.0 if says_nothing else 0.0)
            sum_u += 0 if says_nothing else len(pred)
            continue
        counts[3 if says_nothing else 2] += 1
        both, either = 0 if says_nothing else len(pred & truth), len(pred | truth)
        iou = both / either if either else 0.0
        ious.append(iou)
        sum_i, sum_u = sum_i + both, sum_u + either
        for threshold in hits:
            hits[threshold] += iou >= threshold
    rejected, accepted, found, missed = counts
    scores = {f"P@{threshold}": hit / (found + missed) for threshold, hit in hits.items()}
    scores |= {"gIoU": sum(ious) / len(ious), "cIoU": sum_i / sum_u}
    return scores | {"N-acc": rejected / (rejected + accepted), "T-acc": found / (found + missed)}


def by_lisa(lines) -> dict[str, float]:
    """LISA's validation loop over pixels: the value 255 is left out, and a union of none counts as found."""
    sum_i = sum_u = 0
    ious = []
    for line in lines:
        answer, target, ignore = line["raw"]
        left = {(row, column) for row in range(SHAPE[0]) for column in range(SHAPE[1])} - pixels(ignore)
        pred, truth = (pixels(answer[0]) if answer else set()) & left, pixels(target) & left
        both, either = len(pred & truth), len(pred | truth)
        sum_i, sum_u = sum_i + both, sum_u + either
        ious.append(both / either if either else 1.0)
    return {"gIoU": sum(ious) / len(ious), "cIoU": sum_i / sum_u}


def score(lines, kind: str, **changes):
    return score_refer_lines(
        ((f"line {index}", line) for index, line in enumerate(lines, 1)), protocol_of(kind, **changes)
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("verdicts", [False, True])
def test_grefcoco_equals_rela_with_and_without_its_rule_of_pixels(seed, verdicts):
    lines = random_lines(seed, verdicts=verdicts)
    got = score(lines, "grefcoco").figures
    assert {name: got[name] for name in by_rela(lines)} == pytest.approx(by_rela(lines), abs=1e-12)
    rule = by_rela(lines, 50)
    assert {name: got[f"{name}_50px"] for name in rule} == pytest.approx(rule, abs=1e-12)
    assert got["gIoU"] != got["gIoU_50px"]


@pytest.mark.parametrize("seed", range(4))
def test_reasonseg_equals_lisa(seed):
    lines = random_lines(seed, with_ignore=True)
    got = score(lines, "reasonseg").figures
    assert {name: got[name] for name in ("gIoU", "cIoU")} == pytest.approx(by_lisa(lines), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("skip", [False, True])
def test_refseg_takes_the_first_mask_and_the_annotations_word(seed, skip):
    lines = random_lines(seed)
    ious, sum_i, sum_u, missing = [], 0, 0, 0
    for line in lines:
        answer, target, _ = line["raw"]
        missing += not answer
        if not answer and skip:
            ious.append(0.0)
            continue
        pred, truth = pixels(answer[0]) if answer else set(), pixels(target)
        sum_i, sum_u = sum_i + len(pred & truth), sum_u + len(pred | truth)
        ious.append(len(pred & truth) / len(pred | truth) if pred | truth else float(target is None))
    got = score(lines, "refseg", skip_missing=skip).figures
    expected = {"gIoU": sum(ious) / 60, "cIoU": sum_i / sum_u, "missing_seg": missing / 60}
    assert {name: got[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_spans_as_answers_are_dumped_by_stage_and_rule():
    one, two = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    one[:4, :4], two[4:8, :4] = True, True
    spans = [
        {"segmentation": encode_mask(one), "coarse_segmentation": encode_mask(two), "score": 0.9},
        {"segmentation": encode_mask(two), "coarse_segmentation": None, "score": 0.2},
    ]
    line = {"spans": spans, "target": encode_mask(one | two)}
    assert score([line], "refseg").figures["gIoU"] == 0.5
    assert score([line], "refseg", spans="union").figures["gIoU"] == 1
    assert score([line], "refseg", spans="union", stage="coarse").figures["gIoU"] == 0.5
    assert score([{"spans": [], "target": None}], "refseg").figures["gIoU"] == 1


def test_groups_have_figures_of_their_own():
    mask = encode_mask(np.ones(SHAPE, bool))
    lines = [
        {"segmentation": mask, "target": mask, "is_sentence": True},
        {"segmentation": None, "target": mask, "is_sentence": False},
    ]
    got = score(lines, "reasonseg").figures
    assert (got["gIoU"], got["long/gIoU"], got["short/gIoU"]) == (0.5, 1, 0)
    by_source = [{**line, "source": source} for line, source in zip(lines, ("val", "test"))]
    got = score(
        [{key: line[key] for key in ("segmentation", "target", "source")} for line in by_source], "refseg"
    ).figures
    assert (got["val/gIoU"], got["test/gIoU"]) == (1, 0)
    alone = score([{"segmentation": mask, "target": mask, "source": "val"}], "refseg").figures
    assert not any("/" in name for name in alone)


def test_per_object_counts_its_first_sentence():
    mask = encode_mask(np.ones(SHAPE, bool))
    lines = [
        {"segmentation": mask, "target": mask, "object_id": 1},
        {"segmentation": None, "target": mask, "object_id": 1},
        {"segmentation": None, "target": mask, "object_id": 2},
    ]
    assert score(lines, "refseg").figures["gIoU"] == pytest.approx(1 / 3)
    assert score(lines, "refseg", per="object").figures["gIoU"] == 0.5
    with pytest.raises(ValueError, match="line 1 has no 'object_id'"):
        score([{"target": mask}], "refseg", per="object")


def test_presence_comes_where_masks_have_scores():
    lines = random_lines(0)
    scored = score(lines, "grefcoco")
    verdicts, truth = [], []
    for line, kept in zip(lines, scored.presence["probabilities"]):
        assert 0 <= kept <= 1
        truth.append(line["raw"][1] is not None)
        verdicts.append(bool(set().union(*(pixels(mask) for mask in line["raw"][0] or []))))
    assert {"MCC", "threshold", "N-acc", "T-acc", "gIoU", "cIoU"} == {
        name.removeprefix("presence/") for name in scored.figures if name.startswith("presence/")
    }
    assert scored.figures["presence/N-acc"] >= scored.figures["N-acc"]
    assert scored.figures["presence/T-acc"] <= scored.figures["T-acc"]
    assert scored.figures["presence/MCC"] > matthews(verdicts, truth)
    without = [{key: value for key, value in line.items() if key != "score"} for line in lines]
    assert not score(without, "grefcoco").presence
    assert not score(lines, "refseg").presence


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"text": "cat"}, "a line holds 'segmentation'"),
        ({"target": [[1, 2, 3, 4, 5, 6]]}, "'target' must be an RLE"),
        ({"target": 3}, "'target' must be an RLE"),
        ({"target": {"size": [2], "counts": "x"}}, r"\[height, width\]"),
        ({"target": {"size": [2, 2], "counts": [9]}}, "9 pixels"),
        ({"target": {"size": [2, 2], "counts": [4]}, "ignore": {"size": [2, 3], "counts": [6]}}, "2x3"),
        ({"target": None, "score": 2}, "'score' must be a probability"),
        ({"target": None, "seg_prob": True}, "'seg_prob' must be a probability"),
        ({"target": None, "says_no_target": 1}, "'says_no_target' must be true"),
        ({"target": None, "is_sentence": "no"}, "'is_sentence' must be true"),
        ({"target": None, "source": 3}, "'source' must be a text"),
        ({"target": None, "spans": [{}]}, "'spans' must be a list"),
    ],
)
def test_a_line_that_cannot_be_scored_is_named(line, said):
    good = {"target": None, "segmentation": None}
    with pytest.raises(ValueError, match=rf"^line 2: .*{said}"):
        score([good, line], "grefcoco")


def test_a_file_is_scored_as_its_lines(tmp_path):
    lines = [{key: value for key, value in line.items() if key != "raw"} for line in random_lines(2)]
    path = tmp_path / "lines.jsonl"
    path.write_text("\n\n".join(map(json.dumps, lines)) + "\n")
    assert score_refer_file(path, protocol_of("grefcoco")).figures == score(lines, "grefcoco").figures
    path.write_text(json.dumps(lines[0]) + "\n[]\n")
    with pytest.raises(ValueError, match=r"lines\.jsonl, line 2 must hold an object"):
        score_refer_file(path, protocol_of("refseg"))


def test_files_without_a_line_or_with_one_twice_are_errors():
    with pytest.raises(ValueError, match="no line"):
        score([], "refseg")
    line = {"target": None, "record_id": "a"}
    with pytest.raises(ValueError, match="line 2: record 'a' was in line 1"):
        score([line, line], "refseg")
    assert score([line, {**line, "source": "other"}], "refseg").figures["gIoU"] == 1
    with pytest.raises(ValueError, match="got 'gcg'"):
        protocol_of("gcg")


def test_a_source_that_is_no_text_is_named():
    line = {"record_id": 1, "source": ["a"], "segmentation": None, "target": None}
    with pytest.raises(ValueError, match="line 1: 'source' must be a text"):
        score_refer_lines([("line 1", line)], protocol_of("refseg"))
