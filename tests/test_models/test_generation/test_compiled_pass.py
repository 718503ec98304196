"""The compiled pass of a token against the pass that it compiles, over a cache whose slots have gaps."""

import pytest
import torch
from support.newer_transformers import HAS_NEWER_TRANSFORMERS
from transformers import AutoModelForCausalLM, LlamaConfig

from lira_plugin.compat.newer_transformers import from_transformers
from lira_plugin.models import InterleavedLLM
from lira_plugin.models.generation import CompiledPass, SlotKVCache
from lira_plugin.models.generation.compiled_pass import length_bucket, slot_bucket
from lira_plugin.models.generation.decoder_pass import LlamaPass

SHAPE = {
    "vocab_size": 40,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},  # as InternLM2: other frequencies beyond 64 positions
}
CONFIGS = {"llama": LlamaConfig(**SHAPE)}
if HAS_NEWER_TRANSFORMERS:  # with norms of heads, and features that are added behind the first layer
    CONFIGS["qwen3"] = from_transformers("Qwen3Config")(**SHAPE, head_dim=16, deep_stack_levels=1)
STEPS = (
    *(([0], 5), ([1], 1), ([2], 30), ([0, 2], 4), ([0, 1, 2], 1)),
    *(([1, 2], 40), ([0, 1], 1), ([2], 1), ([0], 1), ([1, 2], 1)),
    *(([4], 5), ([0, 1, 4], 1), ([1, 4], 1), ([0], 1)),
)
"""Slots of a pass, and new positions of each: prompts, views and tokens, of answers that come and go."""


@pytest.fixture(scope="module", params=list(CONFIGS))
def llm(request):
    torch.manual_seed(0)
    llm = InterleavedLLM(AutoModelForCausalLM.from_config(CONFIGS[request.param])).eval()
    assert isinstance(llm.cached_pass(), LlamaPass)
    return llm


@pytest.fixture(scope="module")
def graphs(llm):
    """The graphs that were compiled; torch starts anew."""
    torch._dynamo.reset()
    yield []
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def ours(llm, graphs):
    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    return CompiledPass(llm.cached_pass(), backend)


@torch.inference_mode()
def run(run_pass, cache, width):
    """States of each pass."""
    torch.manual_seed(1)
    states = []
    for slots, new in STEPS:
        for slot in slots:
            cache.lengths.setdefault(slot, 0)
        cache.begin_pass(slots, new, torch.device("cpu"))
        states.append(run_pass(torch.randn(len(slots), new, width), cache))
        for slot in slots:
            cache.lengths[slot] += new
    return states


def test_a_step_gives_the_states_of_the_plain_pass(llm, ours, graphs):
    expected, cache = run(llm.cached_pass(), SlotKVCache(), llm.input_size), ours.new_cache(4)
    for found, state in zip(run(ours, cache, llm.input_size), expected, strict=True):
        assert torch.allclose(found, state, atol=1e-5), "what other slots hold changes nothing"
    assert 1 <= len(graphs) <= len({slot_bucket(max(slots) + 1) for slots, new in STEPS if new == 1})


def test_a_later_run_takes_the_stores_of_the_one_before_and_compiles_nothing(llm, ours, graphs):
    cache, width = ours.new_cache(4), llm.input_size
    first, addresses, compiled = run(ours, cache, width), [store.data_ptr() for store in cache.stores], len(graphs)
    del cache
    cache = ours.new_cache(4)
    assert addresses == [store.data_ptr() for store in cache.stores]
    assert not any(store.any() for store in cache.stores), "nothing is left of an earlier run"
    assert all(map(torch.equal, run(ours, cache, width), first)) and len(graphs) == compiled


def test_runs_at_the_same_time_have_stores_of_their_own(ours):
    cache = ours.new_cache(4)
    assert ours.new_cache(4).stores is not cache.stores


def test_a_slot_whose_store_is_full_gets_room_before_it_is_run_without_need(llm, ours):
    """A step writes behind each slot up to its last one, so a waiting answer must not end where its store does."""
    cache, plain = ours.new_cache(2), SlotKVCache()
    with torch.inference_mode():
        for run_pass, own in ((ours, cache), (llm.cached_pass(), plain)):
            torch.manual_seed(1)
            own.lengths = {0: 0, 1: 0}
            for slots, new in (([0, 1], 3), ([0], 125)):
                own.begin_pass(slots, new, torch.device("cpu"))
                run_pass(torch.randn(len(slots), new, llm.input_size), own)
                own.lengths |= {slot: own.lengths[slot] + new for slot in slots}
            if own is cache:
                own.stores[:] = [store[:, :, : own.lengths[0]].clone() for store in own.stores]
            own.begin_pass([1], 1, torch.device("cpu"))
            run_pass(torch.randn(1, 1, llm.input_size), own)
    for ours_store, plain_store in zip(cache.stores, plain.stores, strict=True):
        assert torch.equal(ours_store[0, :, :128], plain_store[0, :, :128])


def test_buckets_waste_little():
    assert [slot_bucket(count) for count in (1, 2, 3, 4, 5, 9, 64)] == [1, 2, 4, 4, 8, 16, 64]
    lengths = range(1, 5000)
    assert all(length <= length_bucket(length) < max(65, 1.5 * length) for length in lengths)
    assert len({length_bucket(length) for length in lengths}) == 14
