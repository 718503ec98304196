"""Data and model of a runner, made to agree before the first batch."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from lira_plugin.datasets import fit_to_model
from lira_plugin.registry import DATASETS, HOOKS
from lira_plugin.structures import InputSpec


@HOOKS.register_module()
class FitDataHook(Hook):
    """Let data pipelines take sizes, tokenizer and template from the model, and refuse those that contradict it.

    It runs once the data sets are built, before validation and tests make a batch. Workers of a training loader may read earlier,
    from a data set that was not fitted. Therefore :class:`~lira_plugin.hooks.ResumableTrainLoop` fits its own before it builds
    the loader: use that loop for training.
    """

    priority = "VERY_HIGH"

    def before_run(self, runner: Runner) -> None:
        """Fit what is about to be used.

        Raises:
            ValueError: see :func:`~lira_plugin.datasets.fit_to_model`.
        """
        for split in ("train", "val", "test"):
            loop = getattr(runner, f"_{split}_loop", None)  # the property without underscore would build it
            if hasattr(loop, "dataloader"):
                fit_to_model(loop.dataloader.dataset, spec_of_runner(runner), f"{split}_dataloader.dataset")


def build_fitted(dataset: Any, runner: Runner, setting: str) -> Dataset:
    """Build a data set, if it is a config, and fit it to the model of the runner.

    Args:
        dataset: data set or its config.
        runner: MMEngine's.
        setting: of the recipe that the data set is, for messages.
    """
    built = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
    return fit_to_model(built, spec_of_runner(runner), setting)


def spec_of_runner(runner: Runner) -> InputSpec | None:
    """What the runner's model asks of its data; builds the model where the runner has not yet. None where it does not say.

    ``FlexibleRunner`` builds its model after the data; here it is built before, as the runner's strategy would.
    """
    if isinstance(runner.model, dict):
        runner.model = runner.strategy.build_model(runner.model)
    model = runner.model
    while not hasattr(type(model), "input_spec") and hasattr(model, "module"):  # DDP, DeepSpeed
        model = model.module
    return model.input_spec if hasattr(type(model), "input_spec") else None
