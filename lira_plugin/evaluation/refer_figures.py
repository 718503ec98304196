"""Figures of many sentences under several rules: with and without gRefCOCO's 50 pixels, and with calibrated presence."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lira_plugin.evaluation.presence import calibrate, matthews, sweep
from lira_plugin.evaluation.refer_scores import SentenceScore, summarise_sentences

SWEEP = tuple(round(step / 20, 2) for step in range(1, 20))
"""Thresholds of the sweep that results hold: 0.05 to 0.95."""


def figures_by_rule(scores: Mapping[int, Sequence[SentenceScore]]) -> dict[str, float]:
    """The summary under each rule, by the least count of pixels that a mask must have.

    The names of the first rule are plain, those of the others end with ``_<pixels>px``.
    """
    figures: dict[str, float] = {}
    for index, (min_pixels, own) in enumerate(scores.items()):
        suffix = f"_{min_pixels}px" if index else ""
        figures.update({name + suffix: value for name, value in summarise_sentences(own).items()})
    return figures


def presence_figures(
    signals: Sequence[Sequence[float]], scores: Sequence[SentenceScore]
) -> tuple[dict[str, float], dict[str, Any]]:
    """What answers are worth when masks are emptied whose calibrated presence lies below the chosen threshold.

    See :mod:`~lira_plugin.evaluation.presence` for how it is calibrated: no record has a part in its own threshold.

    Args:
        signals: of each sentence, probabilities that speak for a target, the same count for all.
        scores: of each sentence, without pixels to ignore.

    Returns:
        ``MCC`` (Matthews' correlation of the verdicts that are left, "has a mask", with the truth), ``threshold`` (mean of the
        two halves'), and ``N-acc``, ``T-acc``, ``gIoU``, ``cIoU`` with these verdicts; then the sweep, ready for JSON. Both are
        empty where fewer than two sentences have a target, or fewer than two have none.
    """
    truth = [score.has_target for score in scores]
    presence = calibrate(signals, truth)
    if presence is None:
        return {}, {}
    gated = [score if kept else _emptied(score) for score, kept in zip(scores, presence.is_present, strict=True)]
    summary = summarise_sentences(gated)
    figures = {
        "MCC": matthews([not score.says_no_target for score in gated], truth),
        "threshold": float(np.mean(presence.thresholds)),
        **{name: summary[name] for name in ("N-acc", "T-acc", "gIoU", "cIoU")},
    }
    details = {
        "thresholds": list(presence.thresholds),
        "signals": len(signals[0]),
        "probabilities": list(presence.probabilities),
        "sweep": [
            {"threshold": point.threshold, "N-acc": point.n_acc, "T-acc": point.t_acc, "MCC": point.mcc}
            for point in sweep(presence.probabilities, truth, SWEEP)
        ],
    }
    return figures, details


def _emptied(score: SentenceScore) -> SentenceScore:
    """The score of the same sentence, had its mask been empty."""
    return replace(
        score,
        intersection=0,
        union=score.target_pixels if score.counts_in_sums else 0,
        iou=float(not score.has_target and score.counts_in_sums),
        box_iou=0.0,
        pixels=0,
        says_no_target=True,
    )
