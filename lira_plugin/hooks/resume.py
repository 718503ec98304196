"""Reproducible iterations, and a training loop that resumes exactly and cheaply."""

import logging
import math
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import DataLoader, Dataset

from lira_plugin.checkpoint.latest import latest_checkpoint
from lira_plugin.hooks.data_stream import seen_draws, stream_settings
from lira_plugin.hooks.fit_data import build_fitted
from lira_plugin.hooks.resumed_plan import TrainingPlan
from lira_plugin.hooks.schedules import check_schedules
from lira_plugin.registry import HOOKS, LOOPS


@LOOPS.register_module()
class ResumableTrainLoop(IterBasedTrainLoop):
    """Iteration-based training that resumes without loading the data it has already seen.

    The data set takes from the model what both have to agree on (:func:`~lira_plugin.datasets.fit_to_model`).

    ``resume=True`` without a path goes on from the last checkpoint of the work dir, or the newest one that is complete.

    MMEngine's loop draws and throws away every batch up to the iteration resumed from; here the sampler skips them. It needs a
    sampler with ``skip(num_draws_per_rank)``, such as :class:`~lira_plugin.datasets.ResumableSampler`. Schedules and settings of
    the optimizer are those of the config, also where the checkpoint has others
    (:class:`~lira_plugin.hooks.resumed_plan.TrainingPlan`). A warning tells what of the checkpoint stays all the same.

    Args:
        runner: whose loop it is.
        dataloader: loader or its config.
        max_iters: iterations of the training.
        max_epochs: how often to go through the data, instead of ``max_iters``.
        kwargs: see :class:`mmengine.runner.IterBasedTrainLoop`.

    Raises:
        ValueError: neither or both of ``max_iters`` and ``max_epochs`` are given, or the length is no positive number; a schedule
            does not fit it (:func:`~lira_plugin.hooks.schedules.check_schedules`).
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        max_iters: int | None = None,
        max_epochs: float | None = None,
        **kwargs: Any,
    ) -> None:
        self._seed_before_resume = runner.seed
        if (max_iters is None) == (max_epochs is None):
            raise ValueError(
                f"give max_iters or max_epochs, got {max_iters} and {max_epochs}; train_cfg.max_epochs=None leaves that of "
                "a recipe out"
            )
        name, length = ("max_iters", max_iters) if max_epochs is None else ("max_epochs", max_epochs)
        if not 0 < length < math.inf:
            raise ValueError(f"train_cfg.{name} must be positive, got {length}")
        if runner._resume and runner._load_from is None:  # MMEngine would trust last_checkpoint as it stands
            runner._load_from = None if (latest := latest_checkpoint(runner.work_dir)) is None else str(latest)
        if isinstance(dataloader, dict):
            dataloader = _build_dataloader(runner, dataloader)
        if max_epochs is not None:
            max_iters = math.ceil(max_epochs * len(dataloader))
        super().__init__(runner, dataloader, max_iters, **kwargs)
        check_schedules(runner.param_schedulers, self._max_iters, len(self.dataloader))
        self._seed_given = runner._randomness_cfg.get("seed")
        self._seen_draws = 0
        self._plan: TrainingPlan | None = None
        self._load_or_resume = runner.load_or_resume
        runner.load_or_resume = self._note_plan  # MMEngine has no hook between building and loading

    def _note_plan(self) -> None:
        self._plan = TrainingPlan(self.runner)
        self._load_or_resume()

    def run(self) -> torch.nn.Module:
        """Train."""
        if self._iter > 0 and self._plan is not None:
            self._plan.resume(self.runner)
        self._check_schedule()
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        if self._iter > 0:
            self._skip_seen_data()
        settings = stream_settings(self.dataloader)
        self.runner.message_hub.update_info(
            "data_stream", settings | {"iteration": self._iter, "draws": self._seen_draws}
        )
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._decide_current_val_interval()
            if (
                self.runner.val_loop is not None
                and self._iter >= self.val_begin
                and (self._iter % self.val_interval == 0 or self._iter == self._max_iters)
            ):
                self.runner.val_loop.run()
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model

    def _check_schedule(self) -> None:
        """Warn of schedules that end before the training, as where only the latter was made longer."""
        schedulers = self.runner.param_schedulers or []
        groups = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
        for group in groups:
            last = max((scheduler.end for scheduler in group if not scheduler.by_epoch), default=self._max_iters)
            if last < self._max_iters - 1:  # fractions of an epoch are rounded down there and up here
                print_log(
                    f"the schedules of param_scheduler end at iteration {last} of {self._max_iters}: what they set stays as "
                    "it is from there on. Set 'end' of the last one to the length of the training, or give schedules as "
                    "shares of it (LinearShareLR, CosineShareLR)",
                    logger="current",
                    level=logging.WARNING,
                )

    def _skip_seen_data(self) -> None:
        sampler = self.dataloader.sampler
        if not hasattr(sampler, "skip"):
            raise TypeError(
                f"{type(sampler).__name__} cannot skip: to resume with ResumableTrainLoop, use "
                "sampler=dict(type='lira_plugin.ResumableSampler') in train_dataloader"
            )
        if self._iter >= self._max_iters:
            _warn(
                f"the checkpoint is of iteration {self._iter}, and the training has {self._max_iters}: nothing is left to do; "
                "to go on, raise train_cfg.max_iters or max_epochs"
            )
        # a seed of the sampler's own stays; the runner's may have been replaced by the checkpoint's
        if getattr(sampler, "seed", None) == self._seed_before_resume:
            sampler.seed = self.runner.seed
        if self._seed_given not in (None, self.runner.seed):
            _warn(
                f"randomness.seed={self._seed_given} changes nothing: {self.runner.seed} of the checkpoint stays, with which "
                "data and draws go on. For another seed begin a training of its own, with the checkpoint as load_from"
            )
        before = self.runner.message_hub.runtime_info.get("data_stream")
        self._seen_draws = seen_draws(before, self._iter, self.dataloader)
        sampler.skip(self._seen_draws // get_world_size())
        self.dataloader_iterator = _InfiniteDataloaderIterator(self.dataloader)
        print_log(f"Resumed at iteration {self._iter}", logger="current", level=logging.INFO)


def _warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)


def _build_dataloader(runner: Runner, dataloader: dict) -> DataLoader:
    """Build it with a data set that is fitted to the model before the sampler asks for lengths or workers read ahead."""
    config = dataloader["dataset"]

    def build() -> Dataset:  # a function, for the runner copies what is in the config, and would copy a data set
        dataset = build_fitted(config, runner, "train_dataloader.dataset")
        if hasattr(dataset, "table"):
            print_log(f"An epoch draws\n{dataset.table()}", logger="current", level=logging.INFO)
        return dataset

    diff_rank_seed = runner._randomness_cfg.get("diff_rank_seed", False)  # as MMEngine's loops do
    return runner.build_dataloader({**dataloader, "dataset": {"type": build}}, runner.seed, diff_rank_seed)


@HOOKS.register_module()
class SeedEachIterHook(Hook):
    """Seed torch before every training iteration from (seed, iteration, rank).

    What an iteration draws, such as dropout and the points of the mask losses, then depends on nothing before it: a resumed
    training draws the same, with no random state to save.
    """

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed."""
        torch.manual_seed((runner.seed or 0) * 1_000_003 + runner.iter * get_world_size() + get_rank())
