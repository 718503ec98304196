"""The weights of a packed folder: all tensors of a model as shards, and a model filled from them one tensor at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from mmengine.config import Config
from mmengine.registry import init_default_scope
from safetensors import safe_open
from torch import Tensor, nn
from tqdm import tqdm

from lira_plugin.checkpoint.files import load_into
from lira_plugin.convert.packed_config import is_packed
from lira_plugin.convert.safetensors_folder import SafetensorsFolder, TensorInfo
from lira_plugin.convert.shards import write_shards
from lira_plugin.convert.tensor_rules import TensorRule
from lira_plugin.models import LIRA
from lira_plugin.models.interleaved_llm import tie_head
from lira_plugin.registry import MODELS, SCOPE

UNUSED = ("extra_losses.",)
"""Prefixes of what only training needs."""


class ModelTensors:
    """Weights and buffers of a model as a source of tensors; one that several parts share is there once.

    Args:
        model: the model.
        origin: where its weights are from.
    """

    def __init__(self, model: nn.Module, origin: str) -> None:
        self.origin = origin
        held = {
            **dict(model.named_parameters()),
            **dict(model.named_buffers()),
        }  # a state dict has what is trained alone
        self.tensors = {name: tensor for name, tensor in held.items() if not name.startswith(UNUSED)}
        self.infos = {
            name: TensorInfo(Path(origin), tuple(tensor.shape), tensor.dtype) for name, tensor in self.tensors.items()
        }

    def read(self, name: str) -> Tensor:
        """One tensor."""
        return self.tensors[name].detach().cpu()


def write_weights(model: nn.Module, folder: str | Path, origin: str, shard_bytes: float = 2e9) -> list[Path]:
    """Write all that a model holds as safetensors."""
    source = ModelTensors(model, origin)
    rules = [TensorRule(name, info.shape, (name,)) for name, info in source.infos.items()]
    return write_shards(rules, source, folder, None, shard_bytes)


def load_model(
    recipe: Config, weights: str | Path | None, device: str = "cpu", dtype: torch.dtype | None = None
) -> nn.Module:
    """Build the model of a recipe with its weights, to answer.

    Args:
        recipe: that of a work dir, or of a packed folder.
        weights: checkpoint, work dir or packed folder; None keeps the weights that the recipe starts from.
        device: where the model is to be.
        dtype: of its weights; None keeps it.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the weights do not fit.
    """
    init_default_scope(recipe.get("default_scope", SCOPE))
    if is_packed(weights):
        return load_packed(recipe.model, weights, device, dtype)
    model = MODELS.build(recipe.model)
    if weights is not None:
        load_into(model, weights)
    return model.to(device, dtype).eval()


def load_packed(
    config: Mapping[str, Any], folder: str | Path, device: str = "cpu", dtype: torch.dtype | None = None
) -> LIRA:
    """Build the model of a packed folder and fill it; memory holds the model and one tensor of a file.

    Args:
        config: of the model (:func:`~lira_plugin.convert.packed_config.read_packed`).
        folder: the packed folder.
        device: where the model is to be.
        dtype: of its weights; None keeps that of the folder.

    Raises:
        FileNotFoundError: a shard is missing.
        ValueError: a tensor is missing, unknown or of another shape, or a file is cut off.
    """
    with init_empty_weights(include_buffers=False):
        model: LIRA = MODELS.build(config)
    fill(model, SafetensorsFolder(folder), device, dtype)
    tie_head(model.llm.causal_lm)
    if lacking := [name for name, tensor in model.named_parameters() if tensor.is_meta]:
        raise ValueError(
            f"{folder} lacks {len(lacking)} tensors of the model that its config.json describes: {', '.join(lacking[:4])}; "
            "download or pack it again"
        )
    model = model.to(device, dtype).eval()  # buffers are left; rotary frequencies stay exact
    model.generator()  # so that a wrong setting of the folder is an error now
    return model


def fill(model: nn.Module, source: SafetensorsFolder, device: str, dtype: torch.dtype | None) -> None:
    """Put the tensors of a folder into a model, one after the other.

    Raises:
        ValueError: one has no place in the model, or another shape.
    """
    held = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}
    wrong = [
        f"{name} {info.shape}, expected {tuple(held[name].shape) if name in held else 'none'}"
        for name, info in source.infos.items()
        if name not in held or tuple(held[name].shape) != info.shape
    ]
    if wrong:
        raise ValueError(f"{source.path} does not fit its config.json in {len(wrong)} tensors: {'; '.join(wrong[:4])}")
    with tqdm(total=len(source.infos), desc=str(source.path), leave=False, disable=None) as bar:
        for file in sorted({info.file for info in source.infos.values()}):
            with safe_open(file, "pt") as content:
                for name in content.keys():  # noqa: SIM118  (not a mapping)
                    _put(model, name, content.get_tensor(name), device, dtype)
                    bar.update()


def _put(model: nn.Module, name: str, tensor: Tensor, device: str, dtype: torch.dtype | None) -> None:
    path, _, leaf = name.rpartition(".")
    owner = model.get_submodule(path)
    if leaf in owner._parameters:
        cast = dtype if tensor.is_floating_point() else None
        owner._parameters[leaf] = nn.Parameter(tensor.to(device, cast, copy=True), requires_grad=False)
    else:
        owner._buffers[leaf] = tensor.clone()
