"""A causal LM and its tokenizer as the Hugging Face folder that other tools read."""

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel


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
        ValueError: the folder has weights already; shards of another division could be taken for these.
    """
    folder = Path(folder)
    if any(folder.glob("*.safetensors*")):
        raise ValueError(f"{folder} holds weights already: remove them or choose another folder")
    if dtype is not None:
        model = model.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
    model.config.use_cache = True  # off in training
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
