"""A causal LM and its tokenizer as the Hugging Face folder that other tools read."""

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from lira_plugin.precision import as_dtype


def write_llm_folder(
    model: PreTrainedModel, tokenizer: Any, folder: str | Path, dtype: str | torch.dtype | None = None
) -> Path:
    """Write safetensors, configuration and tokenizer.

    Args:
        model: which is changed to ``dtype``.
        tokenizer: its tokenizer.
        folder: to write to, made where it is missing.
        dtype: of the weights; None keeps it.

    Raises:
        ValueError: see :func:`llm_folder_path`, or no such data type.
    """
    folder = llm_folder_path(folder)
    if dtype is not None:
        model = model.to(as_dtype(dtype))
    model.config.use_cache = True  # off in training
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def llm_folder_path(path: str | Path) -> Path:
    """A folder that :func:`write_llm_folder` can write to; asked before the work begins.

    Raises:
        ValueError: it has weights already; shards of another division could be taken for the new ones.
    """
    path = Path(path)
    if any(path.glob("*.safetensors*")):
        raise ValueError(f"{path} holds weights already: remove them or choose another folder")
    return path
