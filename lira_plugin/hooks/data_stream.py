"""Where a training stands in its stream of data, also when its batches have changed."""

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_world_size
from mmengine.logging import print_log
from torch.utils.data import DataLoader

_ORDER = ("records", "seed", "shuffle", "length_group")
"""Settings that decide which draw is which record."""


def stream_settings(dataloader: DataLoader) -> dict[str, Any]:
    """What decides which records an iteration takes, in plain types, for checkpoints."""
    sampler = dataloader.sampler
    return {
        "batch_size": dataloader.batch_size,
        "processes": get_world_size(),
        "records": len(dataloader.dataset),
        **{name: getattr(sampler, name, None) for name in _ORDER[1:]},
    }


def seen_draws(before: Mapping[str, Any] | None, iteration: int, dataloader: DataLoader) -> int:
    """Draws that all processes together have taken up to an iteration; a warning tells what has changed since.

    Args:
        before: :func:`stream_settings` of the training that wrote the checkpoint, with the ``iteration`` and the ``draws`` at
            which it began; None where the checkpoint does not have them.
        iteration: to go on from.
        dataloader: of the training that goes on.
    """
    now = stream_settings(dataloader)
    before = before or now | {"iteration": 0, "draws": 0}
    draws = before["draws"] + (iteration - before["iteration"]) * before["batch_size"] * before["processes"]
    changed = {
        name: f"{name} {now[name]!r} (the checkpoint has {before[name]!r})" for name in now if now[name] != before[name]
    }
    if moved := [text for name, text in changed.items() if name in _ORDER]:
        _warn(
            f"the data are in another order from here on: {'; '.join(moved)}. Records of this epoch may come twice or not at all"
        )
    if resized := [text for name, text in changed.items() if name not in _ORDER]:
        _warn(
            f"iterations have other batches from here on: {'; '.join(resized)}. The data go on after the {draws} draws that were "
            f"taken, and iterations are counted on from {iteration}: train_cfg.max_epochs is of iterations as they are now"
        )
    return draws


def _warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)
