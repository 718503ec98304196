"""Shares of the data sets in an epoch: parts, caps, weights and temperature, against plain sums."""

from collections import Counter

import pytest
from test_mixture import Words, key

from lira_plugin.datasets import MixtureDataset
from lira_plugin.datasets.mixture_shares import Share, count_draws


def words(*sizes):
    return [Words("abcdef"[position], list(range(1, size + 1))) for position, size in enumerate(sizes)]


def drawn(mixture):
    return Counter(key(mixture[index]) for index in range(len(mixture)))


def test_a_part_of_the_records_is_the_same_each_time():
    tenth = MixtureDataset(words(40, 3), repeats=[0.1, 1])
    first = [name for name in drawn(tenth) if name[0] == "a"]
    assert len(first) == 4 and len(tenth) == 7
    assert [name for name in drawn(MixtureDataset(words(40, 3), repeats=[0.1, 1])) if name[0] == "a"] == first
    others = MixtureDataset(words(40, 3), repeats=[0.1, 1], seed=1)
    assert {name for name in drawn(others) if name[0] == "a"} != set(first)
    assert tenth.describe()[0].draws == 4 and tenth.describe()[0].repeats == 0.1


def test_two_and_a_half_is_each_twice_and_half_of_them_once_more():
    mixture = MixtureDataset(words(6, 2), repeats=[2.5, 1])
    counts = drawn(mixture)
    assert sorted(counts[name] for name in counts if name[0] == "a") == [2, 2, 2, 3, 3, 3]
    assert all(counts[name] == 1 for name in counts if name[0] == "b") and len(mixture) == 17
    lengths = [mixture.datasets[0].lengths[int(key(mixture[index])[1])] for index in range(15)]
    assert mixture.modality_length[:15] == lengths, "a part has the lengths of its own records"
    assert len(mixture.image_paths) == 17


def entry(source, size, **settings):
    return {"type": Words, "source": source, "lengths": list(range(size)), **settings}


def test_shares_divide_an_epoch():
    sizes, shares = [100, 10, 50], [Share(share=1), Share(share=1), Share(share=2)]
    assert count_draws(sizes, shares) == [40, 40, 80]
    assert count_draws(sizes, shares, epoch_size=20) == [5, 5, 10]
    capped = [Share(share=1), Share(share=1, cap=7), Share(share=2)]
    assert count_draws(sizes, capped, epoch_size=40) == [10, 7, 20]
    assert count_draws(sizes, [Share(cap=30), Share(repeats=2), Share(repeats=2, cap=60)]) == [30, 20, 60]


@pytest.mark.parametrize(("temperature", "expected"), [(1, [800, 200]), (2, [667, 333]), (1e9, [500, 500])])
def test_temperature_flattens_sizes(temperature, expected):
    """Shares of 4:1 become sqrt(4):1 and 1:1."""
    assert count_draws([800, 200], [Share(), Share()], temperature) == expected


def test_contradictions_are_errors():
    for sizes, shares, settings, message in (
        ([5, 5], [Share(share=1), Share()], {}, "every data set of the mixture a 'share', or none"),
        ([5, 5], [Share(), Share()], {"epoch_size": 3}, "epoch_size divides"),
        ([5, 5], [Share(repeats=2), Share()], {"temperature": 2}, "takes the place of 'share' and 'repeats'"),
        ([5, 5], [Share(), Share()], {"temperature": 0}, "must be positive"),
        ([1000, 4], [Share(), Share(repeats=0.1)], {}, "data set 1 of the mixture has 4 records"),
    ):
        with pytest.raises(ValueError, match=message):
            count_draws(sizes, shares, **settings)
    with pytest.raises(ValueError, match="not both"):
        Share.of({"repeats": 1, "share": 2}, "data set 0")
    with pytest.raises(ValueError, match="'cap' must be a positive integer, got 2.5"):
        Share.of({"cap": 2.5}, "data set 0")


def test_the_table_says_what_an_epoch_holds():
    mixture = MixtureDataset(words(40, 3), repeats=[0.1, 2])
    lines = [line.split() for line in mixture.table().splitlines()]
    assert lines[1] == ["a", "40", "0.1", "4", "40.0", "%"] and lines[2] == ["b", "3", "2", "6", "60.0", "%"]
    assert lines[3] == ["together", "43", "10"]
