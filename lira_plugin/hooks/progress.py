"""Progress of training and evaluation on the terminal."""

import sys
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tqdm import tqdm

from lira_plugin.registry import HOOKS


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Show a progress bar of the iterations with the current losses.

    It appears on standard error of the main process, if that is a terminal.

    Args:
        description: text in front of the bar.
        every: iterations between two updates of the losses.
    """

    priority = "VERY_LOW"

    def __init__(self, description: str = "train", every: int = 10) -> None:
        self.description, self.every = description, every
        self._bar: tqdm | None = None

    def before_train(self, runner: Runner) -> None:
        """Open the bar."""
        if is_main_process():
            self._bar = _bar(self.description, runner.max_iters, runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, torch.Tensor] | None = None
    ) -> None:
        """Advance it."""
        if self._bar is None:
            return
        if outputs and self.every_n_inner_iters(batch_idx, self.every):
            self._bar.set_postfix({name: f"{float(value):.3g}" for name, value in outputs.items()}, refresh=False)
        self._bar.update()

    def after_train(self, runner: Runner) -> None:
        """Close it."""
        if self._bar is not None:
            self._bar.close()

    def before_test(self, runner: Runner) -> None:
        """Open a bar for the evaluation."""
        if is_main_process():
            self._bar = _bar("test", len(runner.test_dataloader))

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Advance it."""
        if self._bar is not None:
            self._bar.update()

    def after_test(self, runner: Runner) -> None:
        """Close it."""
        if self._bar is not None:
            self._bar.close()


def _bar(description: str, total: int, initial: int = 0) -> tqdm:
    return tqdm(desc=description, total=total, initial=initial, file=sys.stderr, dynamic_ncols=True, disable=None)
