"""Which sequences run together in one pass of the LLM."""

from collections.abc import Sequence

PASS = 32
"""Positions that take as long as a pass takes by itself, for calling its operators and reading the weights."""


def group_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Put sequences with these numbers of new positions into passes, such that all passes together take least.

    The sequences of a pass are padded to the longest. Besides, each pass costs what :data:`PASS` positions cost.

    Returns:
        For each pass the indices of its sequences, ascending.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    bounds = [rank for rank in range(len(order)) if not rank or lengths[order[rank]] < lengths[order[rank - 1]]]
    bounds.append(len(order))
    plans = {0: (0, [])}  # count of the longest sequences: (least time, passes)
    for end in bounds[1:]:
        plans[end] = min(
            (plans[start][0] + PASS + (end - start) * lengths[order[start]], [*plans[start][1], (start, end)])
            for start in plans
        )
    return [sorted(order[start:end]) for start, end in plans[len(order)][1]]
