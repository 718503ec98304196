"""A recipe's pipeline of transforms, made to prepare prompts."""

from copy import copy

from mmengine.config import Config
from mmengine.dataset import Compose

from lira_plugin.datasets import ILVC, PackGroundingInputs, fit_to_model
from lira_plugin.datasets.grounding_dataset import build_pipeline
from lira_plugin.structures import InputSpec


def recipe_pipeline(cfg: Config, spec: InputSpec) -> Compose:
    """The pipeline of a recipe's ``test_dataloader``, fitted to a model.

    Raises:
        ValueError: the recipe does not say how images and questions are prepared, or otherwise than the model needs.
    """
    pipeline = cfg.get("test_dataloader", {}) or {}
    for key in ("dataset", "pipeline"):
        pipeline = pipeline.get(key) or {}
    pipeline = build_pipeline(pipeline)
    kinds = [type(step) for step in pipeline.transforms]
    if ILVC not in kinds or PackGroundingInputs not in kinds:
        raise ValueError(
            "the recipe does not say how images and questions are prepared: test_dataloader.dataset.pipeline needs the "
            f"steps from LoadImage to PackGroundingInputs, ILVC among them; it has {[kind.__name__ for kind in kinds]}"
        )
    return fit_to_model(pipeline, spec, "test_dataloader.dataset.pipeline")


def prompt_pipeline(pipeline: Compose, ilvc: bool, force: bool) -> Compose:
    """A recipe's pipeline, made to write prompts.

    Args:
        pipeline: of the recipe.
        ilvc: whether the model may look at regions.
        force: whether the answer is what the question names.
    """
    steps = []
    for step in pipeline.transforms:
        step = copy(step)
        if isinstance(step, ILVC):
            step.prob, step.answers, step.force_regions = float(ilvc), False, force
        elif isinstance(step, PackGroundingInputs):
            step.for_generation = True
        steps.append(step)
    return Compose(steps)
