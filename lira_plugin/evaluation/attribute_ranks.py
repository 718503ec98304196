"""How well the words at a ``<seg>`` know an attribute that the expression leaves out: ranks and probabilities of the true value.

All of it is restricted to the set of values of one kind of attribute, such as 14 colours. Ties count against the true value, so a
model that says the same of all values knows nothing.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

TOP = (1, 5)
"""Values of k of top-k."""


class RankedWord(NamedTuple):
    """A value and its probability within its set."""

    value: str
    prob: float


class TrueRank(NamedTuple):
    """What a model says of the true value.

    Args:
        rank: 1 for the most probable value of the set.
        prob: of the true value within the set.
        mass: probability of the whole set among all texts.
    """

    rank: int
    prob: float
    mass: float


@dataclass(frozen=True)
class Witness:
    """One object at one ``<seg>``.

    Args:
        image: names its image; objects of one image are drawn together.
        value: the true one.
        log_probs: log of the probability of each value of the set; None where the answer has no ``<seg>``.
        iou: of the mask that was decoded from the same state.
    """

    image: str
    value: str
    log_probs: Mapping[str, float] | None
    iou: float


def ranked_words(log_probs: Mapping[str, float]) -> list[RankedWord]:
    """The values of a set, the most probable first; their probabilities add up to 1.

    Args:
        log_probs: log of the probability of each value among all texts.
    """
    values, probs = list(log_probs), _within(np.array(list(log_probs.values())))
    return [RankedWord(values[index], float(probs[index])) for index in np.argsort(-probs, kind="stable")]


def true_rank(log_probs: Mapping[str, float], value: str) -> TrueRank:
    """Rank and probability of the true value.

    Raises:
        ValueError: the set does not have it.
    """
    if value not in log_probs:
        raise ValueError(
            f"{value!r} is no value of the set {shown_set(log_probs)}: add it to the words that are asked for"
        )
    logs = np.array(list(log_probs.values()))
    own = log_probs[value]
    prob = float(_within(logs)[list(log_probs).index(value)])
    return TrueRank(int((logs >= own).sum()), prob, min(1.0, math.exp(_log_sum(log_probs))))


def shown_set(values: Sequence[str] | Mapping[str, float]) -> str:
    """The values of a set in a message."""
    names = list(values)
    return f"{', '.join(map(repr, names[:6]))}{', ...' if len(names) > 6 else ''}"


def attribute_figures(items: Sequence[Witness]) -> dict[str, float]:
    """What the witnesses of one kind of attribute say together; figures that cannot be computed are left out.

    ================== ===============================================================================================
    items, missing     count of objects; share of them whose answer has no ``<seg>``
    top1, top5         share of objects whose true value is among the first k; one without ``<seg>`` is not
    mean_rank          of the true value; the last rank without ``<seg>``
    prob               mean probability of the true value within the set; 0 without ``<seg>``
    log10_mass         mean of log10 of the probability of the whole set among all texts, where there is a ``<seg>``
    chance_top1, _top5 what guessing at random gives
    frequency_top1     what the most frequent true value of the items gives
    frequency_prob     ``prob`` of one who says each value as often as it is true
    elsewhere_prob     mean probability of the same values at the ``<seg>`` of objects that have another value, in other images
    centered_top1      ``top1`` after the mean log probability of each value in other images is subtracted: without what the model
                       says everywhere
    ================== ===============================================================================================

    Args:
        items: all of one set of values, at least one.

    Raises:
        ValueError: there is no item, the sets differ, or lack a true value.
    """
    if not items:
        raise ValueError("there is no item to score")
    known = [item for item in items if item.log_probs is not None]
    missing = len(items) - len(known)
    frequencies = Counter(item.value for item in items)
    figures = {
        "items": float(len(items)),
        "missing": missing / len(items),
        "frequency_top1": max(frequencies.values()) / len(items),
        "frequency_prob": sum((count / len(items)) ** 2 for count in frequencies.values()),
    }
    if not known:
        return figures | {f"top{k}": 0.0 for k in TOP} | {"prob": 0.0}
    values = list(known[0].log_probs)
    if odd := next((item for item in known if list(item.log_probs) != values), None):
        raise ValueError(f"items have different sets: {shown_set(values)} and {shown_set(odd.log_probs)}")
    found = [true_rank(item.log_probs, item.value) for item in known]
    figures |= {f"top{k}": sum(one.rank <= k for one in found) / len(items) for k in TOP}
    figures |= {f"chance_top{k}": min(k, len(values)) / len(values) for k in TOP}
    figures["mean_rank"] = (sum(one.rank for one in found) + missing * len(values)) / len(items)
    figures["prob"] = sum(one.prob for one in found) / len(items)
    figures["log10_mass"] = float(np.mean([_log_sum(item.log_probs) for item in known])) / math.log(10)
    return figures | _against_other_images(known, values, len(items))


def _against_other_images(known: Sequence[Witness], values: Sequence[str], count: int) -> dict[str, float]:
    """The figures that compare the ``<seg>`` of an object with those of other images."""
    logs = np.array([[item.log_probs[value] for value in values] for item in known])
    probs = np.array([_within(row) for row in logs])
    truth = np.array([values.index(item.value) for item in known])
    images = np.array([item.image for item in known])
    other_image = images[:, None] != images[None, :]
    figures: dict[str, float] = {}
    elsewhere = other_image & (truth[:, None] != truth[None, :])
    compared = elsewhere.any(1)
    if compared.any():
        means = (elsewhere * probs[:, truth].T).sum(1)[compared] / elsewhere.sum(1)[compared]
        figures["elsewhere_prob"] = float(means.mean())
    if other_image.any(1).all() and np.isfinite(logs).all():
        centered = logs - other_image.astype(float) @ logs / other_image.sum(1, keepdims=True)
        own = centered[np.arange(len(known)), truth]
        figures["centered_top1"] = int(((centered >= own[:, None]).sum(1) == 1).sum()) / count
    return figures


def _log_sum(log_probs: Mapping[str, float]) -> float:
    greatest = max(log_probs.values())
    if not math.isfinite(greatest):
        return greatest
    return greatest + math.log(sum(math.exp(own - greatest) for own in log_probs.values()))


def _within(logs: np.ndarray) -> np.ndarray:
    """(n,) probabilities that add up to 1; all alike where nothing is possible."""
    greatest = logs.max()
    if not math.isfinite(greatest):
        return np.full(len(logs), 1 / len(logs))
    probs = np.exp(logs - greatest)
    return probs / probs.sum()
