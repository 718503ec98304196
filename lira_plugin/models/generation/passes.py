"""Which rows run together in one pass of the LLM."""

from collections.abc import Sequence

PASS = 32
"""Positions that take as long as what any pass takes, whatever is in it: the calls of its operators, and to read the weights."""


def group_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Put rows of the given lengths into passes such that all take least.

    The rows of a pass are padded to the longest; beside these positions a pass takes what :data:`PASS` positions take.

    Returns:
        For each pass the places of its rows, ascending.
    """
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    bounds = [place for place in range(len(order)) if not place or lengths[order[place]] < lengths[order[place - 1]]]
    bounds.append(len(order))
    plans = {0: (0, [])}  # number of the longest rows: (least time, passes)
    for end in bounds[1:]:
        plans[end] = min(
            (plans[start][0] + PASS + (end - start) * lengths[order[start]], [*plans[start][1], (start, end)])
            for start in plans
        )
    return [sorted(order[start:end]) for start, end in plans[len(order)][1]]
