"""How a total that grows, such as time, is divided among the parts of a program."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any


class PartTotals:
    """Gives each part what a total grows by while it runs; a part inside of another counts for itself alone.

    Args:
        total: reads the total.
    """

    def __init__(self, total: Callable[[], float]) -> None:
        self.total = total
        self.counts: Counter[str] = Counter()
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Count what is inside for ``part``."""
        self._turn()
        self._running.append(part)
        try:
            yield
        finally:
            self._turn()
            self._running.pop()

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Count every call of a method for ``part``."""
        method = getattr(owner, name)

        @wraps(method)
        def watched(*args: Any, **kwargs: Any) -> Any:
            with self.of(part):
                return method(*args, **kwargs)

        setattr(owner, name, watched)

    def _turn(self) -> None:
        now = self.total()
        if self._running:
            self.counts[self._running[-1]] += now - self._since
        self._since = now
