"""Two models on the same records: how much one is better, how sure that is, and on which records they differ most."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lira_plugin.evaluation.refer_lines import LineScore


class Difference(NamedTuple):
    """A figure of two models on the same records, and the interval in which the difference lies.

    Args:
        first, second: the figure of each.
        low, high: of second - first, in 95 of 100 draws of the records.
        p_value: share of draws, on the smaller side of 0 and doubled, in which the difference has the other sign or is 0.
    """

    first: float
    second: float
    low: float
    high: float
    p_value: float


class Change(NamedTuple):
    """A record on which two models differ: its name and the IoU of each."""

    name: str
    first: float
    second: float


def paired(first: Sequence[LineScore], second: Sequence[LineScore]) -> list[tuple[LineScore, LineScore]]:
    """The lines of two files that are of the same record, in the order of the first.

    Lines are matched by group and record id, or, where no line has one, by position.

    Raises:
        ValueError: the files are not of the same records, or of records with other annotations.
    """
    named = [line.record_id is not None for line in (*first, *second)]
    if any(named) and not all(named):
        raise ValueError("some lines have a 'record_id' and some have none: give all of them one, or none")
    if any(named):
        known = {(line.group, str(line.record_id)): line for line in second}
        own = {(line.group, str(line.record_id)): line for line in first}
        lost, extra = own.keys() - known.keys(), known.keys() - own.keys()
        if lost or extra:
            shown = ", ".join(sorted(record for _, record in lost | extra)[:5])
            raise ValueError(f"{len(lost)} records are in the first file alone and {len(extra)} in the second: {shown}")
        pairs = [(line, known[key]) for key, line in own.items()]
    elif len(first) != len(second):
        raise ValueError(f"the files have {len(first)} and {len(second)} lines; give them 'record_id' to match them")
    else:
        pairs = list(zip(first, second))
    for one, other in pairs:
        (score, *_), (other_score, *_) = one.scores.values(), other.scores.values()
        if (score.target_pixels, score.has_target) != (other_score.target_pixels, other_score.has_target):
            raise ValueError(f"{one.name} and {other.name} have different targets: they are not of the same data")
    return pairs


def compare(pairs: Sequence[tuple[LineScore, LineScore]], draws: int = 2000, seed: int = 0) -> Mapping[str, Difference]:
    """gIoU and cIoU of two models, with a paired bootstrap of the difference: records are drawn with replacement.

    Args:
        pairs: of lines of the same record, at least one.
        draws: of the bootstrap.
        seed: of the draws.
    """
    scores = [[next(iter(line.scores.values())) for line in own] for own in zip(*pairs)]
    ious = np.array([[score.iou for score in own] for own in scores])
    sums = np.array([[(score.intersection, score.union) for score in own] for own in scores], float)
    rng, count = np.random.default_rng(seed), len(pairs)
    drawn = {"gIoU": [], "cIoU": []}
    for _ in range(draws):
        weights = np.bincount(rng.integers(count, size=count), minlength=count)
        drawn["gIoU"].append(_change(ious @ weights / count))
        drawn["cIoU"].append(_change(_ratio(np.einsum("mrk,r->mk", sums, weights))))
    whole = {"gIoU": ious.mean(1), "cIoU": _ratio(sums.sum(1))}
    return {name: _difference(whole[name], np.array(drawn[name])) for name in whole}


def compare_means(
    first: Mapping[str, float], second: Mapping[str, float], draws: int = 2000, seed: int = 0
) -> Difference:
    """The mean of a figure of each record, with the same bootstrap as :func:`compare`.

    Args:
        first, second: the figure by the names of the records, which are the same, and at least one.
        draws: of the bootstrap.
        seed: of the draws.

    Raises:
        ValueError: there is no record, or the files are not of the same.
    """
    if first.keys() != second.keys() or not first:
        raise ValueError(f"the files have figures of {len(first)} and {len(second)} records, which must be the same")
    values = np.array([[own[name] for name in first] for own in (first, second)])
    rng, count = np.random.default_rng(seed), len(first)
    drawn = [_change(values[:, rng.integers(count, size=count)].mean(1)) for _ in range(draws)]
    return _difference(values.mean(1), np.array(drawn))


def most_changed(pairs: Sequence[tuple[LineScore, LineScore]], count: int) -> list[Change]:
    """The records whose IoU differs most, with the greatest difference first; equal ones are left out."""
    changes = [
        Change(
            one.name if one.record_id is None else str(one.record_id),
            next(iter(one.scores.values())).iou,
            next(iter(other.scores.values())).iou,
        )
        for one, other in pairs
    ]
    return greatest(changes, count)


def greatest(changes: Sequence[Change], count: int) -> list[Change]:
    """The ``count`` greatest changes, the greatest first; what is equal is left out."""
    changes = [change for change in changes if change.first != change.second]
    return sorted(changes, key=lambda change: -abs(change.second - change.first))[:count]


def _ratio(sums: np.ndarray) -> np.ndarray:
    """(2,) cIoU of (2, 2) sums of I and U; 0 where U is 0."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.zeros(2), where=sums[:, 1] > 0)


def _change(values: np.ndarray) -> float:
    return float(values[1] - values[0])


def _difference(whole: np.ndarray, drawn: np.ndarray) -> Difference:
    low, high = np.quantile(drawn, (0.025, 0.975))
    p_value = min(1.0, 2 * min(float((drawn <= 0).mean()), float((drawn >= 0).mean())))
    return Difference(float(whole[0]), float(whole[1]), float(low), float(high), p_value)
