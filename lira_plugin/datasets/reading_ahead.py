"""Several data sets built at once, of which workers read the annotation files."""

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Any

from lira_plugin.datasets.first_pass import can_start_workers, side_by_side
from lira_plugin.datasets.stored_reading import NotYetStored, only_stored


def build_side_by_side(entries: Sequence[Any], build: Callable[[Any], Any]) -> list[Any]:
    """Build data sets; workers first read the files of those that are large and not stored yet.

    So files are read side by side, and what reading leaves in memory goes with the workers.

    Args:
        entries: of the data sets.
        build: makes a data set of an entry.

    Raises:
        Exception: whatever ``build`` raises.
    """
    built: dict[int, Any] = {}
    for index, entry in enumerate(entries):
        with suppress(NotYetStored), only_stored() if can_start_workers() else nullcontext():
            built[index] = build(entry)
    missing = [index for index in range(len(entries)) if index not in built]
    for _ in side_by_side(_Built(entries, build), missing, "reading annotations"):
        pass
    return [built[index] if index in built else build(entry) for index, entry in enumerate(entries)]


class _Built:
    """Data sets that a worker builds, so that their records are stored."""

    def __init__(self, entries: Sequence[Any], build: Callable[[Any], Any]) -> None:
        self.entries, self.build = entries, build

    def __getitem__(self, index: int) -> None:
        logging.disable(logging.CRITICAL)  # who asked for it builds it again, and logs
        with suppress(Exception):  # and raises
            self.build(self.entries[index])
