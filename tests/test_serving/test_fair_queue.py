"""A queue that takes from all clients in turn, against a simple statement of what that means."""

import threading
from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lira_plugin.serving.fair_queue import FairQueue, QueueClosedError, QueueFullError


@given(st.lists(st.integers(0, 3), max_size=20))
def test_each_client_in_turn(clients):
    queue = FairQueue(100)
    for index, client in enumerate(clients):
        queue.put(str(client), [(client, index)])
    taken = [queue.take(wait=False) for _ in clients]
    lanes = {client: [(client, index) for index, own in enumerate(clients) if own == client] for client in clients}
    expected = [item for turn in zip_longest(*lanes.values()) for item in turn if item is not None]
    assert taken == expected and queue.take(wait=False) is None


def test_all_or_none_within_the_bound():
    queue = FairQueue(3)
    queue.put("a", [1, 2])
    with pytest.raises(QueueFullError):
        queue.put("b", [3, 4])
    queue.put("b", [3])
    assert len(queue) == 3 and [queue.take(False) for _ in range(3)] == [1, 3, 2]


def test_what_is_removed_makes_room():
    queue = FairQueue(2)
    queue.put("a", [1, 2])
    assert queue.remove("a", 1) and not queue.remove("a", 1) and not queue.remove("b", 2)
    queue.put("b", [3])
    assert [queue.take(False), queue.take(False), len(queue)] == [2, 3, 0]


def test_who_waits_gets_what_comes_and_learns_of_the_end():
    queue, taken = FairQueue(5), []

    def work():
        while (item := queue.take(wait=True)) is not None:
            taken.append(item)

    thread = threading.Thread(target=work)
    thread.start()
    queue.put("a", [1])
    queue.put("b", [2, 3])
    queue.close()
    thread.join(5)
    assert sorted(taken) == [1, 2, 3] and not thread.is_alive()
    with pytest.raises(QueueClosedError):
        queue.put("a", [4])
