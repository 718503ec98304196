"""The KV cache against runs without one."""

import pytest
import torch
from support.tiny_model import tiny_llm

from lira_plugin.models.generation import SlotKVCache


@pytest.mark.parametrize("slots", [[2, 0, 3], [1, 2, 3]])
def test_a_cache_with_rows_of_their_own_equals_a_run_without_cache(slots):
    llm = tiny_llm().eval()
    sequences = [torch.randn(length, 32) for length in (9, 5, 12)]
    cache = SlotKVCache()
    cache.lengths = dict.fromkeys(range(4), 0)
    chunks = [[(0, 4), (1, 1), (2, 3)], [(0, 1), (2, 1)], [(1, 4), (2, 6)], [(0, 4), (2, 2)]]  # (sequence, rows)
    done, outputs = [0, 0, 0], [[], [], []]
    with torch.no_grad():
        for chunk in chunks:
            feed = torch.nn.utils.rnn.pad_sequence(
                [sequences[row][done[row] : done[row] + new] for row, new in chunk], batch_first=True
            )
            cache.begin_pass([slots[row] for row, _ in chunk], feed.shape[1], feed.device)
            hidden = llm.cached_pass()(feed, cache)
            for (row, new), states in zip(chunk, hidden):
                outputs[row].append(states[:new])
                done[row] += new
                cache.lengths[slots[row]] += new
        assert done == [9, 5, 12]
        for sequence, output in zip(sequences, outputs):
            whole = llm(sequence[None], torch.ones(1, len(sequence), dtype=torch.bool)).hidden[0]
            torch.testing.assert_close(torch.cat(output), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("slots", "copied"), [([1, 2, 3], False), ([2], False), ([1, 3], True), ([2, 1], True)])
def test_neighbours_are_not_copied(slots, copied):
    cache = SlotKVCache()
    cache.lengths = dict.fromkeys(range(4), 0)
    cache.begin_pass(slots, 2, torch.device("cpu"))
    states = torch.randn(len(slots), 3, 2, 8)
    keys, values = cache.update(states, -states, 0)
    assert torch.equal(keys, states) and torch.equal(values, -states)
    store = cache.stores[0].untyped_storage().data_ptr()
    shared = [found.untyped_storage().data_ptr() == store for found in (keys, values)]
    assert shared == [not copied] * 2


def test_a_cache_grows_beyond_its_first_room():
    llm = tiny_llm().eval()
    sequence = torch.randn(1, 150, 32)
    cache, outputs = SlotKVCache(), []
    cache.lengths[1] = 0
    with torch.no_grad():
        for part in sequence.split(25, 1):
            cache.begin_pass([1], part.shape[1], part.device)
            outputs.append(llm.cached_pass()(part, cache))
            cache.lengths[1] += part.shape[1]
        whole = llm(sequence, torch.ones(1, 150, dtype=torch.bool)).hidden
    torch.testing.assert_close(torch.cat(outputs, 1), whole, atol=1e-4, rtol=1e-4)
