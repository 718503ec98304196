"""A queue that takes from all clients in turn."""

import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class QueueFullError(Exception):
    """There is no room for what is to be put."""


class QueueClosedError(Exception):
    """Nothing is taken any more."""


class FairQueue(Generic[T]):
    """First come, first served for each client, and one item of each client in turn. It is used by several threads.

    Args:
        max_length: items that may wait.
    """

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length
        self._lanes: OrderedDict[str, deque[T]] = OrderedDict()
        self._length, self._closed = 0, False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return self._length

    def put(self, client: str, items: Sequence[T]) -> None:
        """Add items of a client: all of them or none.

        Raises:
            QueueFullError: there is no room for all of them.
            QueueClosedError: the queue is closed.
        """
        with self._changed:
            if self._closed:
                raise QueueClosedError
            if self._length + len(items) > self.max_length:
                raise QueueFullError
            self._lanes.setdefault(client, deque()).extend(items)
            self._length += len(items)
            self._changed.notify_all()

    def take(self, wait: bool) -> T | None:
        """The next item; None where there is none (with ``wait``: once the queue is closed and empty)."""
        with self._changed:
            while wait and not self._length and not self._closed:
                self._changed.wait()
            if not self._length:
                return None
            client, lane = next(iter(self._lanes.items()))
            item = lane.popleft()
            self._length -= 1
            del self._lanes[client]
            if lane:
                self._lanes[client] = lane  # behind the others
            return item

    def remove(self, client: str, item: T) -> bool:
        """Take an item out; False where it is not there any more."""
        with self._changed:
            lane = self._lanes.get(client)
            if lane is None or item not in lane:
                return False
            lane.remove(item)
            self._length -= 1
            if not lane:
                del self._lanes[client]
            return True

    def close(self) -> None:
        """Take no more items; those that wait can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
