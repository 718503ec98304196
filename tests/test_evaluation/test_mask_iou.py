from itertools import permutations

import numpy as np
import pytest

from lira_plugin.evaluation import (
    intersection_union,
    iou,
    iou_from_counts,
    iou_matrix,
    match_masks,
    mean_matched_iou,
)


def count(pred, target) -> tuple[int, int]:
    """Intersection and union, one pixel at a time."""
    both = either = 0
    for row in range(len(pred)):
        for column in range(len(pred[0])):
            both += bool(pred[row][column]) and bool(target[row][column])
            either += bool(pred[row][column]) or bool(target[row][column])
    return both, either


def random_mask(rng, shape, density) -> np.ndarray:
    return rng.random(shape) < density


@pytest.mark.parametrize("seed", range(6))
def test_counts_equal_a_loop(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 20, 2))
    pred, target = (random_mask(rng, shape, rng.choice([0, 0.1, 0.5, 1])) for _ in range(2))
    assert intersection_union(pred, target) == count(pred, target)


def test_values_above_one_are_foreground_once():
    overlapping = np.array([[2, 1], [0, 0]], np.uint8)
    assert intersection_union(overlapping, np.array([[1, 0], [255, 0]], np.uint8)) == (1, 3)


def test_counts_are_python_integers():
    assert [type(value) for value in intersection_union(np.ones((2, 2)), np.ones((2, 2)))] == [int, int]


def test_the_rules_for_empty_masks():
    none, some = np.zeros((3, 4), bool), np.eye(3, 4, dtype=bool)
    assert iou(none, none) == 1
    assert iou(none, none, empty=0) == 0
    assert iou(some, none) == iou(none, some) == 0
    assert iou(some, some) == 1
    assert iou(some, none, empty=0.5) == 0


def test_a_ratio_of_sums():
    assert iou_from_counts(3, 4) == 0.75
    assert iou_from_counts(0, 0) == 1
    with pytest.raises(ValueError, match="5 and 4"):
        iou_from_counts(5, 4)


@pytest.mark.parametrize("empty", [1.0, 0.0])
def test_the_matrix_equals_pairs(empty):
    rng = np.random.default_rng(0)
    preds = [random_mask(rng, (9, 14), density) for density in (0, 0.2, 0.5, 1)]
    targets = [random_mask(rng, (9, 14), density) for density in (0.3, 0, 0.9)]
    matrix = iou_matrix(preds, targets, empty=empty)
    assert matrix.shape == (4, 3) and matrix.dtype == np.float64
    for row, pred in enumerate(preds):
        for column, target in enumerate(targets):
            both, either = count(pred, target)
            assert matrix[row, column] == (both / either if either else empty)
    np.testing.assert_array_equal(iou_matrix(np.stack(preds), np.stack(targets), empty=empty), matrix)


def test_the_matrix_without_masks():
    assert iou_matrix([], [np.ones((2, 2), bool)]).shape == (0, 1)
    assert iou_matrix([np.ones((2, 2), bool)], []).shape == (1, 0)
    assert iou_matrix([], []).shape == (0, 0)


def test_other_shapes_are_an_error():
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
        intersection_union(np.zeros((2, 3)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"\(H, W\)"):
        intersection_union(np.zeros(6), np.zeros(6))
    with pytest.raises(ValueError, match="one shape"):
        iou_matrix([np.zeros((2, 3))], [np.zeros((3, 2))])


def best_sum(preds, targets) -> float:
    """The greatest sum of IoU over all ways to pair, by trying them."""
    few, many = sorted((preds, targets), key=len)
    return max(
        sum(iou(a, many[place], empty=0.0) for a, place in zip(few, places))
        for places in permutations(range(len(many)), len(few))
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [(3, 3), (2, 4), (4, 2), (0, 2)])
def test_matching_equals_trying_all_pairings(seed, sizes):
    rng = np.random.default_rng(seed)
    preds, targets = ([random_mask(rng, (6, 7), 0.3) | (np.arange(7) == 0) for _ in range(n)] for n in sizes)
    pairs = match_masks(preds, targets)
    assert len({pred for pred, _ in pairs}) == len(pairs) == len({target for _, target in pairs}) == min(sizes)
    assert [target for _, target in pairs] == sorted(target for _, target in pairs)
    total = sum(iou(preds[pred], targets[target]) for pred, target in pairs)
    assert total == pytest.approx(best_sum(preds, targets))
    assert mean_matched_iou(preds, targets) == pytest.approx(total / len(targets))


def test_masks_without_overlap_are_not_matched():
    left, right = np.array([[1, 0]], bool), np.array([[0, 1]], bool)
    assert match_masks([left], [right]) == [] and mean_matched_iou([left], [right]) == 0


def test_one_to_one_is_the_plain_iou_also_without_a_target():
    rng = np.random.default_rng(0)
    for density in (0, 0.2, 0.6):
        for other in (0, 0.2, 0.6):
            pred, target = random_mask(rng, (5, 5), density), random_mask(rng, (5, 5), other)
            assert mean_matched_iou([pred], [target]) == iou(pred, target)
    nothing = np.zeros((5, 5), bool)
    assert mean_matched_iou([], [nothing]) == 1 and mean_matched_iou([], [~nothing]) == 0
    assert mean_matched_iou([~nothing, nothing], [~nothing]) == 1
    with pytest.raises(ValueError, match="at least one target"):
        mean_matched_iou([nothing], [])


def test_a_target_that_is_named_but_has_no_pixel_is_never_found():
    empty, left = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    left[:, :2] = True
    assert mean_matched_iou([empty], [empty]) == mean_matched_iou([], [empty], [False]) == 1
    assert mean_matched_iou([empty], [empty], [True]) == mean_matched_iou([], [empty], [True]) == 0
    assert mean_matched_iou([left], [left, empty], [True, True]) == 0.5


def test_fractions_are_no_masks():
    whole = np.array([[0.0, 1.0], [2.0, 0.0]])
    assert intersection_union(whole, whole) == (2, 2)
    for fraction in (np.full((2, 2), 0.3), np.array([[0.0, np.nan], [1.0, 0.0]])):
        with pytest.raises(ValueError, match="bool or whole numbers, got float64 with fractions.*threshold"):
            intersection_union(fraction, whole)
        with pytest.raises(ValueError, match="with fractions"):
            iou_matrix([fraction], [whole])
