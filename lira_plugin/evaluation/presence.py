"""Whether a sentence names anything: a calibrated probability, and the threshold from which on it is believed.

Two things tell: the probability with which an answer begins by grounding something, and the mean foreground probability
inside its mask. A logistic regression makes one probability of them. Each half of the records is judged by what the other half
taught, so the figures are of records that neither the regression nor the threshold has seen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_EDGE = 1e-6
"""Probabilities are kept this far from 0 and 1 before their logits are taken."""
_RIDGE = 1e-3
"""Weight of the squared coefficients, so that they stay finite where the halves are separable."""


class SweepPoint(NamedTuple):
    """What a threshold gives: the fractions of sentences without and with a target that are told, and Matthews' correlation."""

    threshold: float
    n_acc: float
    t_acc: float
    mcc: float


class Presence(NamedTuple):
    """Calibrated presence of each record.

    Args:
        probabilities: that the sentence names something, one a record.
        is_present: the verdicts, with the threshold of the other half.
        thresholds: those of the two halves.
    """

    probabilities: tuple[float, ...]
    is_present: tuple[bool, ...]
    thresholds: tuple[float, float]


def matthews(is_present: Sequence[bool], has_target: Sequence[bool]) -> float:
    """Matthews' correlation coefficient of verdicts and truth, -1 to 1; 0 where one of them is the same for all."""
    verdict, truth = np.asarray(is_present, bool), np.asarray(has_target, bool)
    hits, false_alarms = np.array([(verdict & truth).sum()]), np.array([(verdict & ~truth).sum()])
    return float(_matthews(hits, false_alarms, int(truth.sum()), int((~truth).sum()))[0])


def sweep(probabilities: Sequence[float], has_target: Sequence[bool], thresholds: Sequence[float]) -> list[SweepPoint]:
    """What each threshold gives, where a probability from it on says that there is a target.

    Raises:
        ValueError: all sentences have a target, or none has.
    """
    values, truth = np.asarray(probabilities, float), np.asarray(has_target, bool)
    if truth.all() or not truth.any():
        raise ValueError("a sweep needs sentences with and without a target")
    points = []
    for threshold in thresholds:
        verdict = values >= threshold
        n_acc, t_acc = float((~verdict[~truth]).mean()), float(verdict[truth].mean())
        points.append(SweepPoint(float(threshold), n_acc, t_acc, matthews(verdict, truth)))
    return points


def best_threshold(probabilities: Sequence[float], has_target: Sequence[bool]) -> float:
    """The threshold of the greatest Matthews' correlation, midway between two probabilities; of equals the lowest.

    Raises:
        ValueError: all sentences have a target, or none has.
    """
    probabilities, truth = np.asarray(probabilities, float), np.asarray(has_target, bool)
    if truth.all() or not truth.any():
        raise ValueError("a threshold needs sentences with and without a target")
    values, own = np.unique(probabilities, return_inverse=True)
    if len(values) == 1:
        return float(values[0])
    # of each threshold, the sentences at or above it: all but those of the values below
    hits = truth.sum() - np.cumsum(np.bincount(own[truth], minlength=len(values)))[:-1]
    false_alarms = (~truth).sum() - np.cumsum(np.bincount(own[~truth], minlength=len(values)))[:-1]
    best = int(_matthews(hits, false_alarms, int(truth.sum()), int((~truth).sum())).argmax())
    return float((values[best] + values[best + 1]) / 2)


def calibrate(signals: Sequence[Sequence[float]], has_target: Sequence[bool]) -> Presence | None:
    """Make one probability of several, and verdicts of it, each half of the records by the other.

    The records of either kind belong to the halves in turn.

    Args:
        signals: of each record, probabilities that speak for a target: the same count for all.
        has_target: of each record.

    Returns:
        None where fewer than two records have a target, or fewer than two have none: then there is nothing to learn from.
    """
    truth = np.asarray(has_target, bool)
    if min(truth.sum(), (~truth).sum()) < 2:
        return None
    clipped = np.clip(np.asarray(signals, float).reshape(len(truth), -1), _EDGE, 1 - _EDGE)
    logits = np.log(clipped / (1 - clipped))
    half = np.zeros(len(truth), int)
    for kind in (truth, ~truth):
        half[kind] = np.arange(kind.sum()) % 2
    probabilities, is_present, thresholds = np.zeros(len(truth)), np.zeros(len(truth), bool), []
    for own in (0, 1):
        taught, judged = half != own, half == own
        fitted = _fit(logits[taught], truth[taught])
        thresholds.append(best_threshold(_apply(fitted, logits[taught]), truth[taught]))
        probabilities[judged] = _apply(fitted, logits[judged])
        is_present[judged] = probabilities[judged] >= thresholds[-1]
    return Presence(tuple(probabilities.tolist()), tuple(is_present.tolist()), (thresholds[0], thresholds[1]))


def _fit(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Coefficients (F + 1,) of a logistic regression on (N, F) logits, the last of them constant; classes weigh the same."""
    weights = np.where(truth, 0.5 / truth.sum(), 0.5 / (~truth).sum())
    signs = np.where(truth, 1.0, -1.0)
    columns = np.hstack([logits, np.ones((len(logits), 1))])

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        margins = signs * (columns @ coefficients)
        slopes = -weights * signs / (1 + np.exp(np.clip(margins, -500, 500)))
        value = (weights * np.logaddexp(0, -margins)).sum() + _RIDGE * coefficients @ coefficients
        return float(value), columns.T @ slopes + 2 * _RIDGE * coefficients

    from scipy.optimize import minimize  # slow to import

    return minimize(loss, np.zeros(columns.shape[1]), jac=True, method="L-BFGS-B").x


def _apply(coefficients: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(logits @ coefficients[:-1] + coefficients[-1])))


def _matthews(hits: np.ndarray, false_alarms: np.ndarray, targets: int, others: int) -> np.ndarray:
    """The coefficient from counts: verdicts "present" with and without a target, and sentences of either kind."""
    hits, false_alarms = hits.astype(float), false_alarms.astype(float)
    present = hits + false_alarms
    spread = np.sqrt(present * targets * (targets + others - present) * others)
    return np.divide(
        hits * (others - false_alarms) - false_alarms * (targets - hits),
        spread,
        out=np.zeros_like(spread),
        where=spread > 0,
    )
