"""Rows in passes against all ways to group them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lira_plugin.models.generation.pass_groups import PASS, group_by_length


def partitions(items):
    """All ways to put items into groups."""
    if not items:
        yield []
        return
    first, *others = items
    for groups in partitions(others):
        yield [[first], *groups]
        for place in range(len(groups)):
            yield [*groups[:place], [first, *groups[place]], *groups[place + 1 :]]


def cost(groups, lengths):
    return sum(PASS + len(group) * max(lengths[place] for place in group) for group in groups)


@given(st.lists(st.one_of(st.integers(1, 10), st.integers(1, 150)), max_size=7))
def test_no_other_groups_take_less(lengths):
    found = group_by_length(lengths)
    assert sorted(place for group in found for place in group) == list(range(len(lengths)))
    assert all(group == sorted(group) and group for group in found)
    assert cost(found, lengths) == min(cost(groups, lengths) for groups in partitions(list(range(len(lengths)))))


@pytest.mark.parametrize(
    ("lengths", "groups"),
    [
        ([], []),
        ([1, 1, 1], [[0, 1, 2]]),
        ([1, 9, 1], [[0, 1, 2]]),
        ([9, 104, 1, 9, 104], [[1, 4], [0, 2, 3]]),
        ([9] + [1] * 15, [[0], list(range(1, 16))]),
    ],
)
def test_prompts_views_and_tokens_share_a_pass_where_padding_is_cheap(lengths, groups):
    assert group_by_length(lengths) == groups


def test_many_rows_are_grouped_at_once():
    lengths = [number % 97 + 1 for number in range(1000)]
    found = group_by_length(lengths)
    assert 1 < len(found) < 97 and cost(found, lengths) < cost([list(range(1000))], lengths)
