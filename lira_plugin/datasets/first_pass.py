"""What a first start does on many records: side by side, with progress, and not again what is done."""

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lira_plugin.datasets.cache_folder import load_integers, locked, save_integers
from lira_plugin.written_aside import remove, written_aside

_MOST_WORKERS = 8
"""Workers of a process; each holds the objects of the file that it reads."""


def side_by_side(items: Any, indices: Sequence[int], name: str) -> Iterator[tuple[int, Any]]:
    """Each index with ``items[index]``, computed by as many workers as there are cores, with a bar on a terminal.

    There are eight workers at most, and none inside of a worker.
    """
    workers = min(len(indices), _MOST_WORKERS, _cores()) if can_start_workers() else 0
    loader = DataLoader(
        _Indexed(items),
        batch_size=None,
        sampler=indices,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # else it would draw from the training's
    )
    yield from tqdm(loader, desc=name, total=len(indices), disable=None)


def can_start_workers() -> bool:
    """Whether this process may have workers, which see what it holds; those of a data loader may not, and only Linux can."""
    return sys.platform == "linux" and not multiprocessing.current_process().daemon


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _as_it_is(item: Any) -> Any:
    return item


class _Indexed(Dataset):
    """Items with their index."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def __getitem__(self, index: int) -> tuple[int, Any]:
        return index, self.items[index]


def stored_array(path: Path, chunks: Sequence[np.ndarray], length: int, chunk_length: int, name: str) -> np.ndarray:
    """Integers that are computed once: those of the file, or else of the chunks.

    Each chunk is stored as soon as it is done, so that an ended first pass goes on where it was.

    Args:
        path: the file, see :func:`~lira_plugin.datasets.cache_folder.save_integers`.
        chunks: (chunk_length,) int32 each, the last one perhaps shorter.
        length: of all chunks together.
        chunk_length: of each chunk but the last.
        name: for progress and messages.

    Returns:
        (length,) int32.
    """
    if (values := _loaded(path, length)) is not None:
        return values
    parts = path.with_name(path.name + ".chunks")
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path))
            keep = _saved
        except OSError as error:
            print_log(f"the {name} are not stored: {error}", logger="current", level=logging.WARNING)
            keep = _forgotten
        if (values := _loaded(path, length)) is not None:  # which another process has written meanwhile
            return values
        lengths = [min(chunk_length, length - start) for start in range(0, length, chunk_length)]
        done = {chunk: _loaded(parts / f"{chunk}.npy", own) for chunk, own in enumerate(lengths)}
        for chunk, found in side_by_side(chunks, [chunk for chunk in done if done[chunk] is None], name):
            done[chunk] = np.asarray(found)
            keep(parts / f"{chunk}.npy", done[chunk])
        values = np.concatenate([np.empty(0, np.int32), *done.values()])
        if keep(path, values):
            remove(parts)
    return values


def _loaded(path: Path, length: int) -> np.ndarray | None:
    """The integers of a file; None where there is none of this length that can be read."""
    try:
        values = load_integers(path, np.int32)
    except (OSError, ValueError):
        return None
    return values if len(values) == length else None


def _saved(path: Path, values: np.ndarray) -> bool:
    """Save integers; whether that was possible."""
    with suppress(OSError), written_aside(path) as unfinished:
        save_integers(unfinished, values)
        return True
    return False


def _forgotten(path: Path, values: np.ndarray) -> bool:
    return False
