"""Recipes of any size without the files they name: scenes as data, and weights that are made up."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

from lira_plugin.describe import measure_recipe
from lira_plugin.models import LIRA
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def is_full_size(recipe: Path) -> bool:
    """Whether a recipe is none of the tiny ones, which have scenes as their data anyway."""
    return not recipe.stem.startswith("lira_tiny")


def provide_scenes(root: Path, num_train: int, num_eval: int = 2, size: int = 128, progress: bool = True) -> None:
    """Write scenes and their tokenizer to where recipes that are read from now on look for them."""
    os.environ["LIRA_TINY_ROOT"] = str(root)
    write_scene_tokenizer(write_scenes(root / "data", num_train, num_eval, size=size, progress=progress))


def read_recipe(path: Path) -> Config:
    """A finetune recipe on the scenes of the tiny one (``LIRA_TINY_ROOT``), with their tokenizer.

    A full-size recipe keeps its pipeline, and takes questions, images with three sentences, and captions as 5 to 2 to 3, which
    is nearly the paper's mixture.
    """
    config, tiny = Config.fromfile(path), Config.fromfile(CONFIGS / "lira_tiny" / "lira_tiny.py")
    if not is_full_size(path):
        return config
    refer, captions, questions = tiny.train_dataloader.dataset.datasets
    refer.update(num_expressions=3, repeats=2)
    captions.repeats, questions.repeats = 3, 5
    data = config.train_dataloader.dataset
    data.datasets = [refer, captions, questions]
    config.model.tokenizer = tiny.model.tokenizer
    return config


def build_model(config: Config, make: Callable[[str, nn.Parameter], Tensor], like: nn.Module | None = None) -> LIRA:
    """The model of a recipe with weights that ``make`` gives for the name of a parameter and the parameter on the meta device.

    Args:
        like: a model whose parameters are shared where name and shape agree, so that variants take the memory of one.
    """
    model = measure_recipe(config.model).model
    shared = dict(like.named_parameters(remove_duplicate=False)) if like else {}
    made: dict[nn.Parameter, nn.Parameter] = {}  # a tied parameter has several names
    for prefix, module in model.named_modules():
        for name, blank in module.named_parameters(prefix, recurse=False):
            if blank not in made:
                found = shared.get(name)
                fits = found is not None and found.shape == blank.shape
                made[blank] = found if fits else nn.Parameter(make(name, blank), blank.requires_grad)
            setattr(module, name.rpartition(".")[2], made[blank])
    return model


def return_freed_memory() -> None:
    """Have glibc give blocks from 1 MiB on back as they are freed: full-size tensors come in sizes that fragment its heap."""
    ctypes.CDLL(None).mallopt(-3, 2**20)  # M_MMAP_THRESHOLD


def draw(name: str, blank: nn.Parameter, device: torch.device | str = "cpu") -> Tensor:
    """Random weights of a scale at which nothing overflows: norms and layer scales are one, biases zero."""
    weight = torch.empty(blank.shape, device=device)
    return weight.normal_(0, 0.02) if blank.dim() > 1 else weight.fill_(not name.endswith("bias"))


def nothing(name: str, blank: nn.Parameter) -> Tensor:
    """Zeros that take no memory, where shapes are all that matters."""
    return torch.zeros(()).expand(blank.shape)
