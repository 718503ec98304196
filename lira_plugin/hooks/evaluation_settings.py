"""What a score depends on besides its metric, handed to the metrics that write it down."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from lira_plugin.registry import HOOKS


@HOOKS.register_module()
class EvaluationSettingsHook(Hook):
    """Tell metrics that have ``take_settings`` how the test is run: as the recipe and the command line have it.

    They get ``generation`` (token limit, ILVC, ...), ``pipeline`` (tiles, ...), ``datasets``, ``questions`` and ``loop`` of the
    test, and ``checkpoint``: all of it in plain types.
    """

    def before_test(self, runner: Runner) -> None:
        """Hand the settings over."""
        cfg = runner.cfg
        dataset = cfg.get("test_dataloader", {}).get("dataset", {})
        settings = {
            "generation": cfg.get("model", {}).get("generation", {}),
            "pipeline": dataset.get("pipeline", {}),
            "datasets": dataset.get("datasets", []),
            "loop": cfg.get("test_cfg", {}),
            "questions": _questions(runner.test_loop.dataloader.dataset),
            "checkpoint": getattr(runner, "_load_from", None),
        }
        for metric in runner.test_evaluator.metrics:
            if hasattr(metric, "take_settings"):
                metric.take_settings(plain_settings(settings))


def _questions(dataset: Any) -> dict[str, list[int]]:
    """The pools of questions of the data sets that have one, by their source."""
    parts = getattr(dataset, "datasets", [dataset])
    return {part.source: list(part.questions) for part in parts if hasattr(part, "questions")}


def plain_settings(value: Any) -> Any:
    """Settings in types that JSON knows: classes and functions by their dotted names."""
    if isinstance(value, dict):
        return {str(key): plain_settings(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain_settings(entry) for entry in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else str(value)
