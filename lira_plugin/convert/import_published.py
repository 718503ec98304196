"""The parts of a published vision-language model, loaded from its folder as it is, or converted.

``config.json`` tells which family the folder is of; a new one is a class in :data:`IMPORTERS`. A recipe names these functions as
the ``type`` of its LLM, semantic encoder, tokenizer and chat template.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lira_plugin.convert.import_internvl import InternVLCheckpoint
from lira_plugin.convert.import_qwen_vl import QwenVLCheckpoint
from lira_plugin.convert.published_model import PublishedModel, published_config
from lira_plugin.models.semantic_encoder.base import SemanticEncoder
from lira_plugin.structures import ChatTemplate, build_template

IMPORTERS: dict[str, type[PublishedModel]] = {
    "qwen2_vl": QwenVLCheckpoint,
    "qwen2_5_vl": QwenVLCheckpoint,
    "qwen3_vl": QwenVLCheckpoint,
    "internvl_chat": InternVLCheckpoint,
    "internvl": InternVLCheckpoint,
}
"""By ``model_type``."""


def open_published(path: str | Path, published: str | None = None, obtain: str = "") -> PublishedModel:
    """What the folder says; arguments as of :class:`~lira_plugin.convert.published_model.PublishedModel`.

    Raises:
        FileNotFoundError: no ``config.json``.
        ValueError: the folder is of another model.
    """
    kind = published_config(Path(path), published, obtain).get("model_type")
    if kind not in IMPORTERS:
        expected = ", ".join(map(repr, IMPORTERS))
        supported = "; ".join(dict.fromkeys(importer.supported for importer in IMPORTERS.values()))
        raise ValueError(f"{path}/config.json has model_type={kind!r}, expected {expected}: supported are {supported}")
    return IMPORTERS[kind](path, published, obtain)


def llm_from_published(
    path: str | Path,
    dtype: str | torch.dtype = torch.float32,
    published: str | None = None,
    obtain: str = "",
    **settings: Any,
) -> PreTrainedModel:
    """The language model of a published folder.

    On the meta device (``with torch.device("meta")``) only ``config.json`` is read, or not even that with ``published``.

    Args:
        path: the folder.
        dtype: of the weights.
        published, obtain: see :class:`~lira_plugin.convert.published_model.PublishedModel`.
        settings: replace those of the LLM's configuration, such as ``attn_implementation``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is of another model, or a tensor does not fit.
    """
    return open_published(path, published, obtain).load_llm(dtype, **settings)


def semantic_encoder_from_published(
    path: str | Path,
    dtype: str | torch.dtype = torch.float32,
    published: str | None = None,
    obtain: str = "",
    **settings: Any,
) -> SemanticEncoder:
    """The vision tower of a published folder with what projects it to the LLM.

    Args:
        path, dtype, published, obtain: see :func:`llm_from_published`.
        settings: replace arguments of the encoder's class, such as ``tile_size`` of
            :class:`~lira_plugin.models.Qwen2VLEncoder`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is of another model, or a tensor does not fit.
    """
    return open_published(path, published, obtain).load_semantic_encoder(dtype, **settings)


def tokenizer_from_published(path: str | Path, obtain: str = "") -> PreTrainedTokenizerBase:
    """The folder's own tokenizer, as a fast one and without remote code.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is of another model, or its files disagree.
    """
    return open_published(path, obtain=obtain).tokenizer(obtain)


def template_from_published(path: str | Path, published: str | None = None, obtain: str = "") -> ChatTemplate:
    """The chat template that the folder names.

    Raises:
        FileNotFoundError: no ``config.json``.
        ValueError: the folder is of another model, or names a template that is not known here.
    """
    return build_template(open_published(path, published, obtain).chat_template)


def convert_published(
    path: str | Path, out: str | Path, dtype: str | torch.dtype | None = None, shard_bytes: float = 2e9
) -> dict[str, str]:
    """Convert a published folder.

    Args:
        path: the published folder.
        out, dtype, shard_bytes: see :meth:`~lira_plugin.convert.published_model.PublishedModel.convert`.

    Returns:
        Tensors that are not used, with the reason.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the folder is of another model, or a tensor does not fit.
    """
    return open_published(path).convert(out, dtype, shard_bytes)
