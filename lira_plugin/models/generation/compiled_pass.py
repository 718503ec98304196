"""The pass of one token, compiled with ``torch.compile``: most passes of an answer are of this kind.

Its shapes repeat. It runs all slots up to the last one that is in use, filled up to 1, 2, 4, 8, ..., and looks at as many
positions as the longest sequence has, filled up in steps of at most a half. Keys and values lie in stores that stay where they
are, and are larger in every way than what a pass looks at. So two graphs are compiled, for one slot and for more, and on a GPU
each pair of buckets is replayed as a CUDA graph.

A slot that the pass runs without need (its answer waits or is done, or it has none) gets a zero for a token, and its keys and
values land behind what is kept, where the next token overwrites them. Prompts, views and guesses run as they do without this.

Shape letters: B slots of a pass, H width.
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache

from lira_plugin.models.generation.decoder_pass import HuggingFacePass, LlamaPass
from lira_plugin.models.generation.kv_cache import MIN_ROOM, NO_LAYERS, SlotKVCache, causal_mask, enlarged

_GRAPHS = 64
"""Graphs that torch may compile of one function. Its own bound, 8, is for shapes without end, and these are buckets."""


def slot_bucket(count: int) -> int:
    """The least power of two that is not below ``count``."""
    return 1 << (count - 1).bit_length()


def length_bucket(length: int) -> int:
    """The least of 64, 96, 128, 192, 256, 384, ... that is not below ``length``."""
    power = slot_bucket(length)
    return max(MIN_ROOM, power * 3 // 4 if length <= power * 3 // 4 else power)


def compiled(function: Callable, backend: str | Callable, **options: Any) -> Callable:
    """``torch.compile`` of a function as one graph, for shapes that come in buckets."""
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, _GRAPHS)
    return torch.compile(function, fullgraph=True, backend=backend, **options)


class StaticKVCache(SlotKVCache):
    """A cache whose stores have the sizes of buckets, and a slot and some room more.

    Args:
        batch_size: slots that are allocated at least.
        stores: of an earlier cache that is not used any more; they are cleared.
    """

    def __init__(self, batch_size: int, stores: list[Tensor]) -> None:
        super().__init__()
        self.batch_size, self.stores = batch_size, stores
        for store in stores:
            store.zero_()

    def begin_pass(self, slots: Sequence[int], new: int, device: torch.device) -> None:  # noqa: D102
        super().begin_pass(slots, new, device)
        self.last_slot = max(slots)

    def begin_step(self) -> tuple[Tensor, int]:
        """Make room for a token in each slot up to the last one of the pass announced.

        Returns:
            (B, 1) positions of these tokens, and how many positions the pass looks at.
        """
        starts = [self.lengths.get(slot, 0) for slot in range(slot_bucket(self.last_slot + 1))]
        for layer, store in enumerate(self.stores):
            slots, room = max(len(store), len(starts) + 1), max(store.shape[2], self._room(max(starts) + 1))
            if (slots, room) != (len(store), store.shape[2]):
                self.stores[layer] = enlarged(store, slots, room)
        return torch.tensor(starts, device=self.positions.device)[:, None], length_bucket(self.limit)

    def _slot_count(self, needed: int) -> int:
        return slot_bucket(max(needed, self.batch_size)) + 1

    def _room(self, wanted: float) -> int:
        return length_bucket(int(wanted)) + MIN_ROOM


class CompiledPass:
    """Runs passes of one token compiled, and the others as they are.

    Args:
        plain: the pass, with weights that do not change any more.
        backend: of ``torch.compile``. With ``inductor`` on a GPU the compiled graphs are replayed as CUDA graphs.

    Raises:
        RuntimeError: of a pass: another thread ran an earlier one, to which CUDA graphs and stores belong.
    """

    def __init__(self, plain: HuggingFacePass | LlamaPass, backend: str | Callable = "inductor") -> None:
        self.plain = plain
        mode = {"mode": "reduce-overhead"} if backend == "inductor" else {}
        self._step = compiled(self._run, backend, **mode)
        self._stores: list[Tensor] = []
        self._user: weakref.ref[StaticKVCache] | None = None
        self._thread: threading.Thread | None = None

    @torch.inference_mode()
    def new_cache(self, batch_size: int) -> StaticKVCache:
        """A cache for so many answers at a time, with the stores of the last one if that is gone: CUDA graphs know them."""
        free = self._user is None or self._user() is None
        cache = StaticKVCache(batch_size, self._stores if free else [])
        self._stores, self._user = cache.stores, weakref.ref(cache)
        return cache

    def __call__(self, embeddings: Tensor, cache: SlotKVCache) -> Tensor:
        """Run new positions; see :class:`HuggingFacePass`. Any cache but one of :meth:`new_cache` is served uncompiled."""
        if embeddings.shape[1] != 1 or not isinstance(cache, StaticKVCache) or not cache.stores:
            return self.plain(embeddings, cache)
        self._thread = self._thread or threading.current_thread()
        if self._thread is not threading.current_thread():
            raise RuntimeError(
                f"a compiled model answers in one thread, and thread {self._thread.name!r} asked it first: ask it from there, as "
                "through a queue, or leave compile=True out"
            )
        positions, limit = cache.begin_step()
        tokens, turned = embeddings.new_zeros(len(positions), 1, embeddings.shape[2]), torch.zeros_like(positions)
        tokens[cache.slots], turned[cache.slots] = embeddings, cache.positions
        waves, keys = self.plain.waves(tokens, turned), torch.arange(limit, device=positions.device)
        for tensor in (tokens, positions, keys, *(waves or ()), *cache.stores):
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
        for store in cache.stores:
            torch._dynamo.maybe_mark_dynamic(store, 2)
            torch._dynamo.mark_static_address(store, guard=False)
        torch.compiler.cudagraph_mark_step_begin()
        return self._step(tokens, waves, positions, keys, cache.stores)[cache.slots]

    def _run(
        self, tokens: Tensor, waves: tuple[Tensor, Tensor] | None, positions: Tensor, keys: Tensor, stores: list[Tensor]
    ) -> Tensor:
        """The step: (B, 1, H) tokens to (B, 1, H) hidden states."""
        return self.plain.run(tokens, waves, _StepCache(positions, keys, stores))


class _StepCache(Cache):
    """What a step sees of a static cache.

    Args:
        positions: (B, 1) of the tokens in the first B slots.
        keys: (limit,) the positions that the step looks at.
        stores: of the cache.
    """

    def __init__(self, positions: Tensor, keys: Tensor, stores: list[Tensor]) -> None:
        super().__init__(*NO_LAYERS)
        self.positions, self.keys, self.stores = positions, keys, stores
        self.limit = len(keys)

    def visible(self, dtype: torch.dtype) -> Tensor:
        return causal_mask(self.keys, self.positions, dtype)

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, cache_kwargs=None):
        states, store = torch.cat([key_states, value_states], 1), self.stores[layer_idx]
        slots = torch.arange(len(states), device=states.device)
        store[slots[:, None], :, self.positions] = states.transpose(1, 2)
        return store[: len(states), :, : self.limit].chunk(2, 1)

    def get_seq_length(self, layer_idx: int | None = 0) -> int:
        return self.limit

    def get_max_cache_shape(self) -> int | None:
        return None
