"""Ranks of true attributes, against plain Python."""

import math
import statistics
from itertools import pairwise

import numpy as np
import pytest

from lira_plugin.evaluation.attribute_ranks import Witness, attribute_figures, ranked_words, true_rank

VALUES = ["red", "green", "blue", "gray", "pink", "cyan", "gold"]


def logs(*probs):
    return dict(zip(VALUES, map(math.log, probs)))


def test_words_are_ranked_within_their_set():
    ranked = ranked_words(logs(0.02, 0.05, 0.03))
    assert [word.value for word in ranked] == ["green", "blue", "red"]
    assert [word.prob for word in ranked] == pytest.approx([0.5, 0.3, 0.2])
    assert true_rank(logs(0.02, 0.05, 0.03), "blue") == (2, pytest.approx(0.3), pytest.approx(0.1))


def test_ties_count_against_the_true_value():
    assert true_rank(logs(0.1, 0.1, 0.1, 0.05), "red").rank == 3
    assert true_rank(dict.fromkeys(VALUES, -math.inf), "red") == (7, pytest.approx(1 / 7), 0.0)


def test_a_value_that_the_set_lacks():
    with pytest.raises(ValueError, match="'mauve' is no value of the set 'red', 'green'"):
        true_rank(logs(0.1, 0.2), "mauve")
    with pytest.raises(ValueError, match="no item"):
        attribute_figures([])
    items = [Witness("a", "red", logs(0.1, 0.2), 0.0), Witness("b", "red", logs(0.1, 0.2, 0.3), 0.0)]
    with pytest.raises(ValueError, match="different sets"):
        attribute_figures(items)


def random_items(seed, count=40):
    rng = np.random.default_rng(seed)
    items = []
    for _ in range(count):
        probs = rng.dirichlet(np.ones(len(VALUES)) * 0.5) * rng.uniform(0.01, 0.9) + 1e-9
        known = rng.random() > 0.1
        items.append(
            Witness(
                f"image {rng.integers(count // 2)}",
                VALUES[rng.integers(3)],
                logs(*probs) if known else None,
                float(rng.random()),
            )
        )
    return items


def by_loop(items):
    """The figures straight from their definitions."""
    known = [item for item in items if item.log_probs is not None]
    ranks, probs, masses, elsewhere, centered = [], [], [], [], 0
    for item in known:
        order = sorted(VALUES, key=lambda value: -item.log_probs[value])
        ranks.append(order.index(item.value) + 1)
        masses.append(sum(math.exp(own) for own in item.log_probs.values()))
        probs.append(math.exp(item.log_probs[item.value]) / masses[-1])
        others = [other for other in known if other.image != item.image]
        differing = [other for other in others if other.value != item.value]
        if differing:
            elsewhere.append(
                statistics.mean(
                    math.exp(other.log_probs[item.value]) / sum(map(math.exp, other.log_probs.values()))
                    for other in differing
                )
            )
        gain = {
            value: item.log_probs[value] - statistics.mean(other.log_probs[value] for other in others)
            for value in VALUES
        }
        centered += max(gain, key=gain.get) == item.value
    count, missing = len(items), len(items) - len(known)
    shares = [sum(item.value == value for item in items) / count for value in VALUES]
    return {
        "items": count,
        "missing": missing / count,
        "top1": sum(rank == 1 for rank in ranks) / count,
        "top5": sum(rank <= 5 for rank in ranks) / count,
        "mean_rank": (sum(ranks) + 7 * missing) / count,
        "prob": sum(probs) / count,
        "log10_mass": statistics.mean(map(math.log10, masses)),
        "chance_top1": 1 / 7,
        "chance_top5": 5 / 7,
        "frequency_top1": max(shares),
        "frequency_prob": sum(share**2 for share in shares),
        "elsewhere_prob": statistics.mean(elsewhere),
        "centered_top1": centered / count,
    }


@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_their_definitions(seed):
    items = random_items(seed)
    assert attribute_figures(items) == pytest.approx(by_loop(items))


def test_what_a_model_says_everywhere_is_no_knowledge():
    """It always says red, and a little more of the true value than of others: only the centred rank sees it."""
    items = [
        Witness(str(index), value, logs(0.5, 0.1 + 0.1 * (value == "green"), 0.1 + 0.1 * (value == "blue")), 0.0)
        for index, value in enumerate(["green", "blue", "green", "blue", "red"])
    ]
    figures = attribute_figures(items)
    assert figures["top1"] == pytest.approx(1 / 5)
    assert figures["centered_top1"] == 1


def test_without_any_seg_nothing_is_found():
    figures = attribute_figures([Witness("a", "red", None, 0.0), Witness("b", "blue", None, 0.0)])
    assert figures["missing"] == 1 and figures["top1"] == figures["top5"] == figures["prob"] == 0
    assert "mean_rank" not in figures and "elsewhere_prob" not in figures


def test_one_image_has_nothing_to_be_compared_with():
    figures = attribute_figures([Witness("a", "red", logs(0.1, 0.2), 0.0), Witness("a", "green", logs(0.1, 0.2), 0.0)])
    assert "elsewhere_prob" not in figures and "centered_top1" not in figures


def test_probabilities_are_the_larger_the_better_the_rank():
    ranked = ranked_words(random_items(0)[0].log_probs)
    assert all(one.prob >= other.prob for one, other in pairwise(ranked))
    assert sum(word.prob for word in ranked) == pytest.approx(1)
