"""Two models side by side, against a bootstrap of plain loops."""

import numpy as np
import pytest
from test_refer_lines import SHAPE, random_lines

from lira_plugin.evaluation.paired import compare, most_changed, paired
from lira_plugin.evaluation.refer_lines import protocol_of, score_refer_lines
from lira_plugin.structures import encode_mask


def scored(lines):
    return score_refer_lines(((f"line {index}", line) for index, line in enumerate(lines)), protocol_of("refseg")).lines


def two_files(seed: int):
    """The same records, of which the second model answers every third with an empty mask."""
    first = random_lines(seed)
    empty = encode_mask(np.zeros(SHAPE, bool))
    return first, [line | ({} if index % 3 else {"segmentation": empty}) for index, line in enumerate(first)]


def by_loop(pairs, draws, seed):
    """Differences of gIoU and cIoU in each draw of the records."""
    scores = [(next(iter(one.scores.values())), next(iter(other.scores.values()))) for one, other in pairs]
    rng, found = np.random.default_rng(seed), {"gIoU": [], "cIoU": []}
    for _ in range(draws):
        own = [scores[index] for index in rng.integers(len(scores), size=len(scores))]
        means, ratios = [], []
        for model in (0, 1):
            means.append(sum(pair[model].iou for pair in own) / len(own))
            union = sum(pair[model].union for pair in own)
            ratios.append(sum(pair[model].intersection for pair in own) / union if union else 0.0)
        found["gIoU"].append(means[1] - means[0])
        found["cIoU"].append(ratios[1] - ratios[0])
    return found


@pytest.mark.parametrize("seed", range(2))
def test_the_interval_is_that_of_draws_of_records(seed):
    first, second = two_files(seed)
    pairs = paired(scored(first), scored(second[::-1]))
    got, drawn = compare(pairs, draws=200, seed=seed), by_loop(pairs, 200, seed)
    for name in ("gIoU", "cIoU"):
        values = sorted(drawn[name])
        assert (got[name].low, got[name].high) == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), abs=1e-12)
        above, below = (sum(sign * value >= -1e-12 for value in values) / 200 for sign in (1, -1))
        assert got[name].p_value == pytest.approx(min(1, 2 * min(above, below)), abs=0.02)
    figures = score_refer_lines((("x", line) for line in second), protocol_of("refseg")).figures
    assert (got["gIoU"].second, got["cIoU"].second) == pytest.approx((figures["gIoU"], figures["cIoU"]))


def test_what_is_worse_on_every_record_is_worse_for_sure():
    whole, part = np.ones(SHAPE, bool), np.ones(SHAPE, bool)
    part[:, :3] = False
    first = [{"record_id": n, "segmentation": encode_mask(whole), "target": encode_mask(whole)} for n in range(20)]
    got = compare(paired(scored(first), scored([line | {"segmentation": encode_mask(part)} for line in first])))
    assert got["gIoU"].high < 0 and got["cIoU"].high < 0 and got["cIoU"].p_value == 0


def test_the_same_answers_do_not_differ():
    lines = scored(random_lines(0))
    got = compare(paired(lines, lines), draws=20)
    assert (got["gIoU"].low, got["gIoU"].high, got["gIoU"].p_value) == (0, 0, 1)
    assert most_changed(paired(lines, lines), 5) == []


def test_what_changed_most_comes_first():
    first, second = two_files(3)
    changes = most_changed(paired(scored(first), scored(second)), 5)
    sizes = [abs(change.second - change.first) for change in changes]
    assert sizes == sorted(sizes, reverse=True) and len(changes) == 5 and sizes[-1] > 0
    assert all(int(change.name) % 3 == 0 for change in changes)


def test_files_of_other_records_are_refused():
    lines = random_lines(0)
    nameless = [{key: value for key, value in line.items() if key != "record_id"} for line in lines]
    assert len(paired(scored(nameless), scored(nameless))) == len(lines)
    for first, second, said in (
        (lines, lines[1:], "1 records are in the first file alone and 0 in the second: 0"),
        (nameless, nameless[1:], "60 and 59 lines"),
        (nameless, lines, "some have none"),
        (lines, [line | {"target": encode_mask(np.ones(SHAPE, bool))} for line in lines], "different targets"),
    ):
        with pytest.raises(ValueError, match=said):
            paired(scored(first), scored(second))
