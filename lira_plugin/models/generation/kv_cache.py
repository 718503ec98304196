"""A KV cache whose sequences have lengths of their own."""

import math
from collections.abc import Hashable, Sequence
from inspect import signature

import torch
from torch import Tensor
from transformers import Cache

MIN_ROOM = 64
"""Positions that are allocated at least."""
NO_LAYERS = ([],) if "layers" in signature(Cache.__init__).parameters else ()
"""Since transformers 4.54 a cache is a list of layers; this one keeps its own stores."""


class SlotKVCache(Cache):
    """Keys and values of many sequences of different lengths, of which a forward pass may touch any subset.

    A sequence lives in a *slot*. Nothing is padded: :attr:`lengths` says how much of each slot is filled, and what lies beyond
    is neither seen nor kept.
    """

    def __init__(self) -> None:
        super().__init__(*NO_LAYERS)
        self.lengths: dict[int, int] = {}
        """Filled positions of each slot; a slot is made by naming it."""
        self.prefixes: dict[int, Hashable] = {}
        """Key of the prefix that each slot begins with. It stays there when the sequence is over, until the next one."""
        self.stores: list[Tensor] = []
        """Keys of all heads and then values of all heads, for each layer: (slots, 2 * heads, room, head width)."""
        self.gathered = torch.empty(0)
        """Memory for the keys and values of a pass, that all layers take in turn."""
        self.limit = 0

    def holds(self, slot: int, key: Hashable) -> bool:
        """Whether a slot begins with a prefix, which was run."""
        return bool(self.lengths.get(slot)) and slot in self.prefixes and self.prefixes[slot] == key

    def begin_slot(self, slot: int, prefix: Hashable | None, length: int = 0) -> None:
        """Give a slot to a sequence that begins with ``prefix`` (None: with nothing that others have).

        ``length`` positions of what is in the slot are its first.
        """
        self.lengths[slot] = length
        self.prefixes.pop(slot, None)
        if prefix is not None:
            self.prefixes[slot] = prefix

    def begin_pass(self, slots: Sequence[int], new: int, device: torch.device) -> None:
        """Announce a forward pass of ``new`` positions for the sequences in ``slots``."""
        self.slots = torch.tensor(slots, device=device)
        first, last = slots[0], slots[-1]
        self.neighbours = slice(first, last + 1) if list(slots) == list(range(first, last + 1)) else None
        starts = torch.tensor([self.lengths[slot] for slot in slots], device=device)
        self.positions = starts[:, None] + torch.arange(new, device=device)
        self.limit = max(self.lengths[slot] for slot in slots) + new

    def visible(self, dtype: torch.dtype) -> Tensor:
        """Additive causal mask of the pass announced, (B, 1, new, limit)."""
        return causal_mask(torch.arange(self.limit, device=self.positions.device), self.positions, dtype)

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, cache_kwargs=None):
        """Store the new states of one layer; return all that the pass may look at, (B, heads, limit, head width).

        What is returned holds until the next layer's update.
        """
        states = torch.cat([key_states, value_states], 1)
        if layer_idx == len(self.stores):
            self.stores.append(states.new_zeros(0))
        store = self.stores[layer_idx] = self._with_room(self.stores[layer_idx], states)
        store[self.slots[:, None], :, self.positions] = states.transpose(1, 2)
        return self._gather(store).chunk(2, 1)

    def copy(self, source: int, targets: Sequence[int], length: int) -> None:
        """Fill the first ``length`` positions of other slots with those of ``source``."""
        for layer, store in enumerate(self.stores):
            if max(targets) >= len(store):
                store = self.stores[layer] = enlarged(store, self._slot_count(max(targets) + 1), store.shape[2])
            store[list(targets), :, :length] = store[source, :, :length].clone()
        for target in targets:
            self.lengths[target] = length

    def get_seq_length(self, layer_idx: int | None = 0) -> int:  # noqa: D102
        return self.limit

    def get_max_cache_shape(self) -> int | None:  # noqa: D102
        return None

    def _gather(self, store: Tensor) -> Tensor:
        """The sequences of a pass side by side, as attention wants them: without a copy, where they lie so in the store.

        Large fresh memory for every layer would come from the system page by page, which can take longer than to fill it.
        """
        if self.neighbours is not None:
            return store[self.neighbours, :, : self.limit]
        shape = (len(self.slots), store.shape[1], self.limit, store.shape[3])
        size = math.prod(shape)
        if self.gathered.numel() < size or self.gathered.dtype != store.dtype:
            self.gathered = store.new_empty(size * 5 // 4)
        out = self.gathered[:size].view(shape)
        return torch.index_select(store[:, :, : self.limit], 0, self.slots, out=out)

    def _with_room(self, store: Tensor, states: Tensor) -> Tensor:
        slots = self._slot_count(max(self.lengths) + 1)
        if store.dim() != 4:
            return states.new_zeros(slots, states.shape[1], self._room(self.limit * 1.25), states.shape[3])
        if store.shape[2] < self.limit or store.shape[0] < slots:
            room = store.shape[2] if store.shape[2] >= self.limit else self._room(self.limit * 1.5)
            return enlarged(store, max(slots, store.shape[0]), room)
        return store

    def _slot_count(self, needed: int) -> int:
        """Slots of a store that needs so many."""
        return needed

    def _room(self, wanted: float) -> int:
        """Positions of a store that is to have about so many."""
        return max(MIN_ROOM, int(wanted))


def enlarged(store: Tensor, slots: int, room: int) -> Tensor:
    """A larger store with what is in this one, and zeros."""
    larger = store.new_zeros(slots, store.shape[1], room, store.shape[3])
    larger[: store.shape[0], :, : store.shape[2]] = store
    return larger


def causal_mask(keys: Tensor, positions: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive mask (B, 1, n, limit) of (B, n) positions, each of which sees the (limit,) keys up to its own."""
    hidden = keys > positions[:, None, :, None]
    return torch.zeros(hidden.shape, dtype=dtype, device=keys.device).masked_fill_(hidden, torch.finfo(dtype).min)
