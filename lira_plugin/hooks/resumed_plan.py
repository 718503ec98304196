"""What a resumed training takes from its config although the checkpoint holds it too: schedules and settings of the optimizer."""

import inspect
import logging
import warnings
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import BaseOptimWrapper, OptimWrapperDict
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.runner import Runner


@dataclass
class OptimizerPlan:
    """One optimizer as the config has it.

    Args:
        groups: settings of each parameter group.
        schedulers: state of each scheduler.
    """

    groups: list[dict[str, Any]]
    schedulers: list[dict[str, Any]]


class TrainingPlan:
    """Schedules and settings of the optimizers, taken down before a checkpoint is loaded over them.

    MMEngine's schedulers are restored with all of their settings, so that a training could not be made longer. Here they are
    those of the config, and make the steps once more that have been made: the rates are then those of a training that was planned
    so from its start. With the same settings they are the checkpoint's, bit by bit.

    Args:
        runner: MMEngine's, with optimizers and schedulers built.
    """

    def __init__(self, runner: Runner) -> None:
        self._plans = [
            OptimizerPlan(
                [
                    deepcopy({key: value for key, value in group.items() if key != "params"})
                    for group in wrapper.param_groups
                ],
                [deepcopy(scheduler.state_dict()) for scheduler in schedulers],
            )
            for wrapper, schedulers in _optimizers(runner)
        ]

    def resume(self, runner: Runner) -> None:
        """Let the plan take effect again at the runner's iteration, and log what differs from the checkpoint.

        Raises:
            ValueError: the checkpoint is of another optimizer.
        """
        for plan, (wrapper, schedulers) in zip(self._plans, _optimizers(runner), strict=True):
            loaded = deepcopy(
                [{key: value for key, value in group.items() if key != "params"} for group in wrapper.param_groups]
            )
            self._check_optimizer(plan, loaded, wrapper)
            fixed = any(getattr(scheduler, "need_val_args", False) for scheduler in schedulers)
            scheduled = {scheduler.param_name for scheduler in schedulers}
            kept = scheduled | {f"initial_{name}" for name in scheduled} if fixed else set()
            for group, planned in zip(wrapper.param_groups, plan.groups, strict=True):
                group |= {name: value for name, value in planned.items() if name in _settings(wrapper) - kept}
                group |= {} if fixed else {name: planned[name] for name in planned if name.startswith("initial_")}
            if fixed:
                _log(
                    "schedules that follow a metric go on as the checkpoint has them; settings of theirs change nothing"
                )
            else:
                _repeat(schedulers, plan.schedulers, runner.iter)
            _tell(loaded, wrapper)

    def _check_optimizer(self, plan: OptimizerPlan, loaded: list[dict[str, Any]], wrapper: BaseOptimWrapper) -> None:
        planned, found = ({name for group in groups for name in group} for groups in (plan.groups, loaded))
        if unknown := {name for name in planned - found if not name.startswith("initial_")}:
            raise ValueError(
                f"the checkpoint is not of {type(wrapper.optimizer).__name__}, the optimizer of this config: it has no "
                f"{', '.join(sorted(unknown))}. To --resume, keep the optimizer; to take over the weights alone, give the "
                "checkpoint as load_from (docs/troubleshooting.md#optimizer-is-not-that-of-the-checkpoint)"
            )


def _optimizers(runner: Runner) -> Iterator[tuple[BaseOptimWrapper, list[_ParamScheduler]]]:
    wrapper, schedulers = runner.optim_wrapper, runner.param_schedulers or []
    if isinstance(wrapper, OptimWrapperDict):
        for name, own in wrapper.items():
            yield own, schedulers.get(name, []) if isinstance(schedulers, dict) else schedulers
    else:
        yield wrapper, schedulers


def _settings(wrapper: BaseOptimWrapper) -> set[str]:
    """Names of what an optimizer is made with; other values of its groups are states, such as counts of steps."""
    optimizer = wrapper.optimizer
    optimizer = getattr(optimizer, "optimizer", optimizer)  # inside of DeepSpeed's
    return set(inspect.signature(type(optimizer).__init__).parameters)


def _repeat(schedulers: list[_ParamScheduler], planned: list[dict[str, Any]], iterations: int) -> None:
    """Set schedulers back to their plan, and let them make the steps of ``iterations`` once more."""
    for scheduler, state in zip(schedulers, planned, strict=True):
        optimizer = scheduler.optimizer
        vars(scheduler).clear()
        vars(scheduler).update(deepcopy(state), optimizer=optimizer)
    own = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the optimizer has made no step before
        for _ in range(iterations):
            for scheduler in own:
                scheduler.step()


def _tell(loaded: list[dict[str, Any]], wrapper: BaseOptimWrapper) -> None:
    """Log the settings that differ from the checkpoint's."""
    changed = {
        f"{name} {group[name]!r} (the checkpoint has {before[name]!r})"
        for group, before in zip(wrapper.param_groups, loaded)
        for name in before
        if name != "params" and group[name] != before[name]
    }
    if changed:
        _log(f"the config changes the optimizer from here on: {'; '.join(sorted(changed))}")


def _log(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)
