"""Training that neither learns from NaN nor keeps it."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from itertools import chain
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from lira_plugin.checkpoint.finite import named_tensors, non_finite, refuse_non_finite
from lira_plugin.registry import HOOKS


@dataclass
class SeenBatch:
    """A batch that the next step learns from.

    Args:
        records: source and record id of its samples on this process.
        loss: scalar, once it is there.
    """

    records: list[str]
    loss: Tensor | None = None


@HOOKS.register_module()
class FiniteStepsHook(Hook):
    """Leave out every step whose losses or gradients are not finite, and write no checkpoint with values that are not.

    A step of any process is left out by all. The log says which records it was about, and ``skipped_steps`` counts. After
    ``max_in_a_row`` steps the training ends with an error. Under accumulation one bad batch costs the whole step, as its
    gradients are among the others. Running statistics of batch norm forget a batch whose loss is not finite.

    A step that a loss scale leaves out (``AmpOptimWrapper``, DeepSpeed's fp16) is no fault while the scale can still be lowered.
    Under DeepSpeed, ZeRO's own way to leave a step out is used. Without ZeRO there is none: the training ends then.

    Each step waits for the device once. Clipping, which logs the norm of the gradients, waits at the same point.

    Args:
        max_in_a_row: steps that may be left out one after the other.

    Raises:
        ValueError: ``max_in_a_row`` is not positive.
    """

    def __init__(self, max_in_a_row: int = 10) -> None:
        if max_in_a_row < 1:
            raise ValueError(f"max_in_a_row must be positive, got {max_in_a_row}")
        self.max_in_a_row = max_in_a_row
        self.in_a_row = self.skipped = 0
        self._seen: list[SeenBatch] = []
        """Since the last step."""
        self._loss = torch.zeros(())
        self._statistics: list[Tensor] = []
        self._before: list[Tensor] = []
        """The running statistics as they were before the batch."""
        self._unbounded: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        """Put a guard around the step of the optimizer wrapper.

        Raises:
            FloatingPointError: weights or the state of the optimizer are not finite from the start.
        """
        self.skipped = runner.message_hub.runtime_info.get("skipped_steps", 0)
        model = _bare(runner.model)
        self._unbounded = set(non_finite(model.named_buffers()))  # such as masks of -inf, which are meant
        self._refuse(
            self._non_finite(runner),
            f"what the training starts with at iteration {runner.iter}",
            "take an earlier checkpoint",
        )
        norms = [module for module in model.modules() if isinstance(module, _NormBase) and module.track_running_stats]
        self._statistics = [buffer for module in norms for buffer in module.buffers()]
        for wrapper in _wrappers(runner):
            wrapper.update_params = self._noting(wrapper.update_params)
            guarded = self._guarded if isinstance(wrapper, OptimWrapper) else self._guarded_engine
            wrapper.step = wraps(wrapper.step)(guarded(runner, wrapper, wrapper.step))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note the records of the batch."""
        self._before = [statistic.clone() for statistic in self._statistics]
        samples = data_batch.get("data_samples") if isinstance(data_batch, dict) else None
        self._seen.append(SeenBatch([_name_of(sample) for sample in samples or ()]))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Tensor] | None = None
    ) -> None:
        """Forget the statistics of a bad batch; look at what a checkpoint would hold before a hook removes one for it.

        Raises:
            FloatingPointError: a value is not finite.
        """
        self._forget_bad_statistics()
        if any(_saves_now(hook, runner) for hook in runner.hooks if isinstance(hook, CheckpointHook)):
            found = self._non_finite(runner)
            self._refuse(found, f"the checkpoint of iteration {runner.iter + 1}", _kept(runner))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Look at a checkpoint once more, whoever writes it.

        Raises:
            FloatingPointError: a value is not finite.
        """
        parts = [named_tensors(checkpoint[key], key) for key in ("ema_state_dict", "optimizer") if key in checkpoint]
        found = non_finite(chain(checkpoint["state_dict"].items(), *parts))
        self._refuse(found, f"the checkpoint after iteration {runner.iter}", _kept(runner))

    def _forget_bad_statistics(self) -> None:
        for statistic, before in zip(self._statistics, self._before):
            statistic.copy_(torch.where(self._loss.isfinite(), statistic, before))

    def _refuse(self, names: list[str], what: str, way_out: str) -> None:
        refuse_non_finite([name for name in names if name not in self._unbounded], what, way_out)

    def _non_finite(self, runner: Runner) -> list[str]:
        """Names of trained tensors that are not finite on any process."""
        found = all_gather_object(non_finite(_trained_tensors(runner)))
        return list(dict.fromkeys(chain.from_iterable(found)))

    def _noting(self, update_params: Callable) -> Callable:
        @wraps(update_params)
        def noting(loss: Tensor, *args: Any, **kwargs: Any) -> Any:
            self._loss = loss.detach()
            if self._seen:
                self._seen[-1].loss = self._loss
            return update_params(loss, *args, **kwargs)

        return noting

    def _guarded(self, runner: Runner, wrapper: OptimWrapper, step: Callable) -> Callable:
        """The step of MMEngine's wrappers."""

        def guarded(**kwargs: Any) -> None:
            losses, gradients = self._look(_gradient_norm(wrapper))
            scaler = getattr(wrapper, "loss_scaler", None)
            if all(losses) and gradients:
                self.in_a_row = 0
                step(**kwargs)
            elif all(losses) and scaler is not None and scaler.is_enabled() and scaler.get_scale() > 1:
                step(**kwargs)  # leaves itself out, and lowers its scale
            else:
                self._leave_out(runner, losses)
            self._seen = []

        return guarded

    def _guarded_engine(self, runner: Runner, wrapper: Any, step: Callable) -> Callable:
        """The step of a DeepSpeed engine, which is one of its optimizer every so many batches."""

        def guarded(**kwargs: Any) -> None:
            engine = wrapper.model
            if not engine.is_gradient_accumulation_boundary():
                return step(**kwargs)
            optimizer, scales = engine.optimizer, engine.fp16_enabled()
            can_leave_out = hasattr(optimizer, "check_overflow")
            if can_leave_out and not scales:
                optimizer.check_overflow()  # on all processes; with a loss scale DeepSpeed does so itself
            losses, _ = self._look()
            if all(losses) and not (can_leave_out and optimizer.overflow):
                self.in_a_row = 0
            elif scales and all(losses):
                pass
            elif can_leave_out:
                optimizer.overflow = True
                self._leave_out(runner, losses)
            else:
                self._end(runner, losses, "DeepSpeed cannot leave a step out without ZeRO")
            step(**kwargs)
            if can_leave_out:
                optimizer.overflow = False
            elif not torch.tensor(float(engine.get_global_grad_norm() or 0.0)).isfinite():
                self._end(runner, losses, "DeepSpeed cannot leave a step out without ZeRO")
            self._seen = []
            return None

        return guarded

    def _look(self, norm: Tensor | None = None) -> tuple[list[bool], bool]:
        """Whether the loss of each batch, and the norm of the gradients, is finite on all processes."""
        values = [batch.loss for batch in self._seen if batch.loss is not None]
        values += [] if norm is None else [norm]
        if not values:
            return [], True
        flags = torch.stack([value.float() for value in values]).isfinite().float()
        all_reduce(flags, "min")
        finite = [bool(flag) for flag in flags.tolist()]
        return (finite, True) if norm is None else (finite[:-1], finite[-1])

    def _leave_out(self, runner: Runner, losses: list[bool]) -> None:
        """Count a step that is left out, and say so."""
        self.skipped += 1
        self.in_a_row += 1
        runner.message_hub.update_info("skipped_steps", self.skipped)
        runner.message_hub.update_scalar("train/skipped_steps", self.skipped)
        if self.in_a_row >= self.max_in_a_row:
            self._end(runner, losses, f"{self.in_a_row} steps in a row were left out")
        message = f"{self._fault(runner, losses)}: no step is made ({self.skipped} left out, {self.in_a_row} in a row)"
        print_log(message, logger="current", level=logging.WARNING)

    def _end(self, runner: Runner, losses: list[bool], why: str) -> None:
        self._forget_bad_statistics()
        weights = self._non_finite(runner)
        state = f"; values are not finite in {', '.join(weights[:4])}" if weights else "; all weights are finite"
        raise FloatingPointError(
            f"{self._fault(runner, losses)}; {why}{state}. Look at these records (tools/check_data.py), or lower "
            f"optim_wrapper.optimizer.lr; default_hooks.finite_steps.max_in_a_row says how many are endured "
            f"(docs/troubleshooting.md#losses-are-not-finite). {_kept(runner)}"
        )

    def _fault(self, runner: Runner, losses: list[bool]) -> str:
        """What is not finite, and the records of it; all processes have to ask."""
        own = [batch for batch in self._seen if batch.loss is not None and not bool(batch.loss.isfinite())]
        bad = self._seen if all(losses) else own
        records = chain.from_iterable(all_gather_object([name for batch in bad for name in batch.records]))
        names = ", ".join(dict.fromkeys(records)) or "records that do not say their names"
        what = "the gradients are" if all(losses) else "the loss is"
        return f"iteration {runner.iter + 1}: {what} not finite in the batch of {names}"


def _wrappers(runner: Runner) -> list[Any]:
    wrapper = runner.optim_wrapper
    return list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]


def _bare(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model


def _name_of(sample: Any) -> str:
    """A sample's name; the text of one that has none, which takes long where it holds tensors."""
    return sample.name if hasattr(sample, "name") else repr(sample)


def _trained_tensors(runner: Runner) -> Iterator[tuple[str, Tensor]]:
    """Weights that are trained, buffers, and states of the optimizers; of sharded ones the shares of this process."""
    model, names = _bare(runner.model), {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            names[parameter] = name
            yield name, getattr(parameter, "ds_tensor", parameter)
    yield from model.named_buffers()
    for wrapper in _wrappers(runner):
        for group in wrapper.optimizer.param_groups:
            yield from (("weights of the optimizer", weight) for weight in group["params"] if weight not in names)
        for parameter, state in wrapper.optimizer.state.items():
            yield from named_tensors(state, f"optimizer state of {names.get(parameter, 'the weights')}")


def _gradient_norm(wrapper: OptimWrapper) -> Tensor | None:
    """L2 norm of all gradients as they are, scaled or not; None without any."""
    weights = [weight for group in wrapper.optimizer.param_groups for weight in group["params"]]
    gradients = [weight.grad for weight in weights if weight.grad is not None and weight.grad.numel()]
    if not gradients:
        return None
    dense = [gradient.coalesce().values() if gradient.is_sparse else gradient for gradient in gradients]
    wide = [gradient.float() if gradient.dtype is torch.float16 else gradient for gradient in dense]
    norms = torch._foreach_norm(wide)
    return torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device, torch.float32) for norm in norms]))


def _saves_now(hook: CheckpointHook, runner: Runner) -> bool:
    """Whether a hook is about to write a checkpoint after this iteration."""
    if hook.by_epoch:
        return False
    at_interval = hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
    return at_interval or (hook.save_last and hook.is_last_train_iter(runner))


def _kept(runner: Runner) -> str:
    return f"No checkpoint is written, and earlier ones in {runner.work_dir} stay: go on from one with --resume"
