"""Schedules in shares of the training, so that they follow its length."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from mmengine.optim import CosineAnnealingLR, LinearLR

from lira_plugin.registry import PARAM_SCHEDULERS

_NEVER = 10**9
"""An iteration that no training reaches."""


class _InShares:
    """Part of a scheduler of MMEngine that is given from where to where in shares of the training, not in iterations.

    Args:
        optimizer: optimizer or its wrapper.
        share: (first, last) of the training, 0 to 1: from iteration ``int(first * end)`` to before ``int(last * end)``. A
            share of fewer than :attr:`LEAST` iterations does nothing.
        end: iterations of the training. MMEngine's runners give it, because ``by_epoch`` is False.
        by_epoch: has to be False.
        kwargs: those of the scheduler, but ``begin``.

    Raises:
        TypeError: ``begin`` is given, or ``by_epoch`` is not False.
        ValueError: ``share`` is no part of 0 to 1.
    """

    LEAST = 1
    """Iterations that the schedule needs to go from its first value to its last."""

    def __init__(
        self, optimizer: Any, *args: Any, share: Sequence[float], end: int, by_epoch: bool = True, **kwargs: Any
    ) -> None:
        name = type(self).__name__
        if by_epoch or "begin" in kwargs or "convert_to_iter_based" in kwargs:
            raise TypeError(
                f"{name} counts iterations of the training: give share=(first, last) and by_epoch=False alone"
            )
        is_pair = isinstance(share, list | tuple) and len(share) == 2 and all(isinstance(part, Real) for part in share)
        if not is_pair or not 0 <= share[0] <= share[1] <= 1:
            raise ValueError(f"share of {name} must be (first, last) with 0 <= first <= last <= 1, got {share!r}")
        begin, last = (int(part * end) for part in share)
        if last - begin < self.LEAST:
            begin, last = _NEVER - 1, _NEVER
        super().__init__(optimizer, *args, begin=begin, end=last, by_epoch=False, **kwargs)


@PARAM_SCHEDULERS.register_module()
class LinearShareLR(_InShares, LinearLR):
    """:class:`mmengine.optim.LinearLR` over a share of the training, such as a warm-up.

    MMEngine's schedule of one iteration would set the first value and stay there.
    """

    LEAST = 2


@PARAM_SCHEDULERS.register_module()
class CosineShareLR(_InShares, CosineAnnealingLR):
    """:class:`mmengine.optim.CosineAnnealingLR` over a share of the training."""


def check_schedules(schedulers: Any, max_iters: int, epoch_length: int) -> None:
    """Look at the configs of schedulers before they are built, for MMEngine's messages name neither setting nor training.

    Args:
        schedulers: what ``param_scheduler`` says: a config, a list of them, or such by name of the optimizer.
        max_iters: iterations of the training.
        epoch_length: iterations of an epoch.

    Raises:
        ValueError: a schedule begins after its end, or after that of the training; or one in shares is given an end.
    """
    if isinstance(schedulers, Mapping) and "type" not in schedulers:
        for some in schedulers.values():
            check_schedules(some, max_iters, epoch_length)
        return
    for index, scheduler in enumerate(schedulers if isinstance(schedulers, list | tuple) else [schedulers]):
        if not isinstance(scheduler, Mapping):
            continue
        name, converted = f"param_scheduler.{index}", scheduler.get("convert_to_iter_based", False)
        if scheduler.get("by_epoch", True) and not converted:
            continue  # counted in epochs, of which a training by iterations has one
        factor = epoch_length if converted else 1
        begin, end = (scheduler.get(key, default) for key, default in (("begin", 0), ("end", max_iters / factor)))
        if "share" in scheduler and end != max_iters:
            raise ValueError(
                f"{name}.end={end!r} does not go with share={tuple(scheduler['share'])}, a share of the training, which has "
                f"{max_iters} iterations: leave 'end' out, and set train_cfg.max_iters or max_epochs"
            )
        if "share" not in scheduler and int(begin * factor) >= int(end * factor):
            raise ValueError(
                f"{name} begins at iteration {int(begin * factor)} and ends at {int(end * factor)}, in a training of {max_iters} "
                f"iterations: set {name}.begin and end to fit it, or give schedules as shares of the training (LinearShareLR "
                "with share=(0, 0.03) and CosineShareLR with share=(0.03, 1); "
                "docs/troubleshooting.md#schedule-does-not-fit-the-training)"
            )
