"""Data that take from the model what both have to agree on."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

from mmengine.dataset import Compose

from lira_plugin.datasets.agreed import Disagreement
from lira_plugin.datasets.transforms import LetterboxImage
from lira_plugin.structures import InputSpec

Data = TypeVar("Data")


def fit_to_model(data: Data, spec: InputSpec | None, setting: str = "dataset") -> Data:
    """Let all pipelines of a data set take from the model what they are not given, and compare what they are.

    Transforms take part that have a method ``fit_to_model(spec)``. It can be called again, and changes nothing then.

    Args:
        data: data set, mixture, or pipeline; it is itself changed.
        spec: what the model asks for; None, of a model that does not say, leaves everything as it is.
        setting: of the recipe that the data are, for messages.

    Returns:
        ``data``.

    Raises:
        ValueError: a setting of a transform contradicts the model; the message names both settings and both values.
    """
    if spec is None:
        return data
    for where, pipeline in _pipelines(data, setting):
        own = spec
        for name, step in zip(_names(pipeline), pipeline.transforms, strict=True):
            if not hasattr(step, "fit_to_model"):
                continue
            try:
                step.fit_to_model(own)
            except Disagreement as error:
                raise ValueError(
                    f"{where}.{name}.{error}: change one of the two, or leave the first out, which is then taken from the model"
                ) from error
            if isinstance(
                step, LetterboxImage
            ):  # its size, where the model leaves that open; later steps count tokens from it
                own = replace(own, image_size=step.size)
    return data


def _pipelines(data: Any, setting: str) -> Iterator[tuple[str, Compose]]:
    """All pipelines of a data set and of those in it, each with the setting that it is."""
    if isinstance(data, Compose):
        yield setting, data
        return
    if isinstance(getattr(data, "pipeline", None), Compose):
        yield f"{setting}.pipeline", data.pipeline
    for index, child in enumerate(getattr(data, "datasets", ())):  # a mixture, or torch's ConcatDataset
        yield from _pipelines(child, f"{setting}.datasets.{index}")
    for wrapped in ("dataset", "_dataset"):  # torch's Subset, or MMEngine's slice
        if hasattr(data, wrapped):
            yield from _pipelines(getattr(data, wrapped), setting)


def _names(pipeline: Compose) -> list[str]:
    """Names of the steps, or their indices where they have none."""
    return getattr(pipeline, "names", None) or [str(index) for index in range(len(pipeline.transforms))]
