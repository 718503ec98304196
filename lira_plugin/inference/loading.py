"""Which recipe and which weights a user means."""

from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict

from lira_plugin.checkpoint.deepspeed import is_zero_checkpoint
from lira_plugin.convert.packed_config import is_packed, read_packed
from lira_plugin.recipes import read_recipe
from lira_plugin.settings import WrongSetting, refuse_type

Recipe = str | Path | Config | ConfigDict | dict
"""A config file, the name of a recipe of this package, a config, or a work dir that holds one."""


def find_recipe(model: Recipe | None, weights: str | Path | None) -> tuple[Config, Path | None]:
    """Find config and weights; what is not given is taken from the work dir that is.

    Args:
        model: recipe, work dir, or a folder that :func:`~lira_plugin.convert.pack_model` wrote, which is its own weights. None
            takes the recipe of the work dir that ``weights`` is or lies in.
        weights: checkpoint file or work dir, which then gives its newest checkpoint. None takes those of the work dir
            ``model``, and none where ``model`` is a recipe: the model then keeps the weights that the recipe starts from.

    Raises:
        FileNotFoundError: there is no recipe.
        TypeError: ``model`` is something else.
        ValueError: a work dir holds several recipes, a packed folder is given other weights, or neither argument is given.
    """
    refuse_type("weights", weights, Path | None)
    weights = None if weights is None else Path(weights)
    if model is None:
        if weights is None:
            raise ValueError(
                "give a recipe or a work dir as model, or a checkpoint in a work dir as weights "
                "(docs/troubleshooting.md#which-model-to-ask)"
            )
        model = weights if weights.is_dir() and not is_zero_checkpoint(weights) else weights.parent
    if isinstance(model, Config):
        return model, weights
    if isinstance(model, dict):
        return Config(model), weights
    if not isinstance(model, str | Path):
        raise TypeError(f"model must be a path of a recipe or work dir, or a Config, got {type(model).__name__}")
    model = Path(model)
    if is_packed(model):
        if weights is not None and weights.resolve() != model.resolve():
            raise ValueError(
                f"{model} is packed with its weights: {weights} cannot be loaded into it; give its recipe as model"
            )
        return read_packed(model), model
    if model.is_dir():
        return read_recipe(_recipe_of(model)), weights or model
    return read_recipe(model), weights


def _recipe_of(work_dir: Path) -> Path:
    """The recipe that MMEngine has written into a work dir."""
    # DeepSpeed puts a script of this name beside its checkpoints.
    recipes = sorted(path for path in work_dir.glob("*.py") if path.name != "zero_to_fp32.py")
    if not recipes:
        raise FileNotFoundError(f"no recipe (*.py) in the work dir {work_dir}; give its path as model")
    if len(recipes) > 1:
        names = ", ".join(path.name for path in recipes)
        raise ValueError(
            f"the work dir {work_dir} holds several recipes ({names}): give one as model, the work dir as weights"
        )
    return recipes[0]


def checked_device(device: str) -> str:
    """A device that is there.

    Raises:
        WrongSetting: there is no such kind of device, or this machine has none.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise WrongSetting(
            f"device={device!r} cannot be used ({reason}); give 'cpu', or 'cuda' or 'cuda:<index>' where there is a GPU"
        ) from error
    return device
