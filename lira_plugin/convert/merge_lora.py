"""Merge the LoRA adapters of a fine-tune into its LLM."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from lira_plugin.checkpoint.files import load_into, weights_path, write_state_dict
from lira_plugin.convert.llm_folder import llm_folder_path, write_llm_folder
from lira_plugin.models import LIRA
from lira_plugin.registry import MODELS, SCOPE


def merge_lora(
    recipe: Config,
    weights: str | Path,
    out: str | Path,
    llm_folder: str | Path | None = None,
    dtype: str | torch.dtype | None = None,
) -> Path:
    """Write a checkpoint with the whole LLM, adapters merged, and all else that the recipe trains.

    The same recipe without ``model.llm.lora`` reads it, be it by ``load_from``, as a ``--checkpoint`` or in ``init_from``.

    Args:
        recipe: of the fine-tune; the weights that it starts from must be there.
        weights: checkpoint or work dir of the fine-tune.
        out: file to write, ``.pth`` or ``.safetensors``; ``xtuner test`` and ``load_from`` read the former only.
        llm_folder: write the LLM, with the tokenizer and its special tokens, into this Hugging Face folder as well.
        dtype: of the LLM in the folder; None keeps that of the recipe.

    Raises:
        FileNotFoundError: the checkpoint, or weights that the recipe starts from, are missing.
        ValueError: the recipe has no adapters, the folder has weights already, the checkpoint does not fit, or see
            :meth:`~lira_plugin.models.InterleavedLLM.merge_lora`.
    """
    if not recipe.model.llm.get("lora"):
        raise ValueError("the recipe has no model.llm.lora: it makes no adapters that could be merged")
    out = weights_path(out)
    if llm_folder is not None:
        llm_folder_path(llm_folder)
    init_default_scope(recipe.get("default_scope", SCOPE))
    model: LIRA = MODELS.build(recipe.model)
    load_into(model, weights)
    model.llm.merge_lora()
    write_state_dict(model.state_dict(), out)
    if llm_folder is not None:
        write_llm_folder(model.llm.causal_lm, model.tokenizer, llm_folder, dtype)
    return out
