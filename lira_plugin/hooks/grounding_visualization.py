"""Pictures of what the model answers while it is trained, with the IoU of its masks."""

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from lira_plugin.datasets import grounding_collate
from lira_plugin.distributed import is_sharded
from lira_plugin.evaluation import mean_matched_iou
from lira_plugin.evaluation.refer_seg_metric import MASK_STAGES
from lira_plugin.hooks.fit_data import build_fitted
from lira_plugin.registry import HOOKS
from lira_plugin.structures import GroundedText, GroundingSample, decode_union
from lira_plugin.visualization import GroundingVisualizer


@HOOKS.register_module()
class GroundingVisualizationHook(Hook):
    """Let the model answer a few fixed samples every so often, and log the answers as pictures.

    Beside the pictures ``vis/<index of the record>`` with question, ground truth, coarse and refined masks, it logs the
    scalars ``vis/iou/refined`` and ``vis/iou/coarse``, means over the samples, and ``vis/iou/<stage>/<index>`` of each
    sample with ground truth (:func:`~lira_plugin.evaluation.mean_matched_iou`).

    Training takes no notice: modes and random states are as before. Only the main process predicts, on the bare model,
    while the others wait at their next communication. Where weights are spread over the processes (FSDP, ZeRO-3) it would
    wait for them in turn: there the hook warns once and does nothing.

    Args:
        dataset: yields samples for generation; None takes that of the recipe's ``val_dataloader`` or else
            ``test_dataloader``.
        interval: iterations between two predictions; there is one after the training too.
        num_samples: how many samples to draw from the data set.
        seed: of that draw.
        indices: the samples, instead of a draw.
        draw_coarse: show coarse masks beside the refined ones.

    Raises:
        ValueError: ``interval`` or ``num_samples`` is not positive.
    """

    priority = "LOW"

    def __init__(
        self,
        dataset: Any = None,
        interval: int = 500,
        num_samples: int = 4,
        seed: int = 0,
        indices: Sequence[int] | None = None,
        draw_coarse: bool = True,
    ) -> None:
        if interval < 1 or num_samples < 1:
            raise ValueError(f"interval and num_samples must be positive, got {interval} and {num_samples}")
        self.dataset, self.interval, self.draw_coarse = dataset, interval, draw_coarse
        self.num_samples, self.seed, self.indices = num_samples, seed, indices
        self._samples: dict[int, GroundingSample] = {}
        self._last_step = -1

    def before_train(self, runner: Runner) -> None:
        """Load the samples.

        Raises:
            TypeError: the runner's visualizer cannot draw answers.
            ValueError: there is no data set, or its samples are not for generation.
        """
        if not isinstance(runner.visualizer, GroundingVisualizer):
            raise TypeError(
                f"{type(runner.visualizer).__name__} cannot draw answers: set visualizer=dict(type=GroundingVisualizer, ...)"
            )
        if is_sharded(runner.model):
            print_log(
                "there will be no pictures of answers: the weights are sharded over processes (FSDP or ZeRO-3), and one "
                "process alone cannot predict. DDP and ZeRO-2 have them; `tools/panels.py` draws them from a checkpoint",
                logger="current",
                level=logging.WARNING,
            )
            return
        if is_main_process():
            with preserved_random_state():
                self._samples = self._load(runner)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, torch.Tensor] | None = None
    ) -> None:
        """Predict and draw every ``interval`` iterations."""
        if self.every_n_train_iters(runner, self.interval):
            self._visualize(runner, runner.iter + 1)

    def after_train(self, runner: Runner) -> None:
        """Predict and draw with the last weights, if that has not been done."""
        if self._last_step != runner.iter:
            self._visualize(runner, runner.iter)

    def _load(self, runner: Runner) -> dict[int, GroundingSample]:
        dataset, setting = self.dataset, f"the dataset of {type(self).__name__}"
        for name in ("val_dataloader", "test_dataloader"):
            if dataset is None and runner.cfg.get(name):
                dataset, setting = runner.cfg[name]["dataset"], f"{name}.dataset"
        if dataset is None:
            raise ValueError(f"{type(self).__name__} needs a data set: the recipe has no val_ or test_dataloader")
        dataset = build_fitted(dataset, runner, setting)
        indices = self.indices
        if indices is None:
            count = min(self.num_samples, len(dataset))
            drawn = np.random.default_rng(self.seed).choice(len(dataset), size=count, replace=False)
            indices = sorted(int(index) for index in drawn)
        samples = {index: dataset[index] for index in indices}
        for sample in samples.values():
            if sample.image is None:
                raise ValueError(f"{sample.name} has no image to draw: PackGroundingInputs needs for_generation=True")
        names = ", ".join(f"{index} ({sample.name})" for index, sample in samples.items())
        print_log(f"{type(self).__name__} shows {names}", logger="current", level=logging.INFO)
        return samples

    def _visualize(self, runner: Runner, step: int) -> None:
        if not self._samples:  # sharded weights, or another process than the main one
            return
        self._last_step = step
        answers = self._predict(runner)
        scores: dict[str, dict[int, float]] = {stage: {} for stage in MASK_STAGES}
        for (index, sample), answer in zip(self._samples.items(), answers):
            runner.visualizer.add_datasample(
                f"vis/{index}",
                sample.image,
                answer,
                sample.regions,
                question=sample.question,
                draw_coarse=self.draw_coarse,
                draw_gt=True,
                step=step,
            )
            if sample.regions:
                truth = [decode_union(region.segmentations, *sample.image.shape[:2]) for region in sample.regions]
                named = [region.has_target for region in sample.regions]
                for stage in MASK_STAGES:
                    masks = [span.mask_of(stage) for span in answer.spans]
                    scores[stage][index] = mean_matched_iou(masks, truth, named)
        scalars: dict[str, float] = {}
        for stage, values in scores.items():
            if values:
                scalars[f"vis/iou/{stage}"] = float(np.mean(list(values.values())))
                scalars |= {f"vis/iou/{stage}/{index}": value for index, value in values.items()}
        if scalars:
            runner.visualizer.add_scalars(scalars, step=step)

    def _predict(self, runner: Runner) -> list[GroundedText]:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        precision = getattr(runner.optim_wrapper, "optim_context", lambda model: nullcontext())  # that of the training
        with preserved_random_state(), preserved_modes(model), torch.no_grad(), precision(model):
            return model.eval().test_step(grounding_collate(list(self._samples.values())))


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Leave the generators of Python, NumPy and torch (CPU and GPUs) as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def preserved_modes(model: nn.Module) -> Iterator[None]:
    """Leave every module in training or evaluation mode, as it was; frozen parts differ from the rest."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
