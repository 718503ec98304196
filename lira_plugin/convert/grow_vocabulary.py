"""Give an LLM new tokens: in its tokenizer, and as rows of embedding and head that start as the mean of the old ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from lira_plugin.checkpoint.files import read_state_dict, weights_path, write_state_dict
from lira_plugin.checkpoint.latest import find_checkpoint
from lira_plugin.convert.llm_folder import llm_folder_path, write_llm_folder
from lira_plugin.convert.safetensors_folder import read_config
from lira_plugin.models.interleaved_llm import fill_with_mean, grow_vocabulary
from lira_plugin.tokens import add_missing, load_tokenizer, vocabulary_rows

EMBEDDING = ("embed_tokens.weight",)
HEAD = ("lm_head.weight", "lm_head.base_layer.weight", "lm_head.lora_B.default.weight")


@dataclass(frozen=True)
class VocabularyGrowth:
    """What was added."""

    added: dict[str, int]
    """Tokens and their ids."""
    present: dict[str, int]
    """Tokens that were there, and stay as they are."""
    rows_before: int
    rows: int
    """Of embedding and head; more than before only where no spare rows were left."""
    tied: bool
    """Embedding and head are one."""

    def __str__(self) -> str:
        lines = [f"added {token} as {index}" for token, index in self.added.items()]
        lines += [f"left {token} as {index}, which was there" for token, index in self.present.items()]
        matrices = "embedding, which is the head as well" if self.tied else "embedding and head"
        return "\n".join([*lines, f"{matrices}: {self.rows_before} rows before, {self.rows} now"])


def grow_llm_folder(path: str | Path, tokens: Sequence[str], out: str | Path) -> VocabularyGrowth:
    """Add special tokens to a Hugging Face folder of a causal LM.

    A new token's rows are the mean of the old tokens', in a spare row of a padded embedding too.

    Args:
        path: folder with weights and tokenizer.
        tokens: to add.
        out: folder to write to.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: it holds no causal LM that ``transformers`` knows; ``out`` has weights.
    """
    out = llm_folder_path(out)
    read_config(Path(path))  # else a missing folder is taken for the name of a model to download
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, torch_dtype="auto")
    before, known = model.get_input_embeddings().num_embeddings, vocabulary_rows(tokenizer)
    added, present = _add(tokenizer, tokens)
    grow_vocabulary(model, vocabulary_rows(tokenizer), known, mean_embeddings=True)
    write_llm_folder(model, tokenizer, out)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    return VocabularyGrowth(added, present, before, embedding.num_embeddings, head.weight is embedding.weight)


def grow_checkpoint(
    recipe: Config, weights: str | Path, tokens: Sequence[str], out: str | Path, tokenizer_folder: str | Path
) -> VocabularyGrowth:
    """Add special tokens to a checkpoint of ours, whose recipe then wants the written tokenizer.

    The head's adapter grows too, by the mean of its rows, so that the adapted row is the mean of the adapted ones.

    Args:
        recipe: says the tokenizer.
        weights: checkpoint or work dir in which the LLM's embeddings are trained.
        tokens: to add.
        out: file to write, ``.pth`` or ``.safetensors``; ``xtuner test`` and ``load_from`` read the former only.
        tokenizer_folder: folder to write the tokenizer to.

    Raises:
        FileNotFoundError: no checkpoint.
        ValueError: the checkpoint has no embeddings; see :func:`~lira_plugin.checkpoint.files.read_state_dict`.
    """
    path, out = find_checkpoint(weights), weights_path(out)
    state = read_state_dict(path)
    grown = [name for name in state if name.endswith((*EMBEDDING, *HEAD))]
    if not any(name.endswith(EMBEDDING) for name in grown):
        raise ValueError(
            f"{path} holds no embedding of an LLM: its recipe keeps the LLM's own, so grow the folder that it starts from"
        )
    tokenizer = load_tokenizer(recipe.model.tokenizer, recipe.model.get("special_tokens")).tokenizer
    known = vocabulary_rows(tokenizer)
    added, present = _add(tokenizer, tokens)
    size, before = vocabulary_rows(tokenizer), len(state[grown[0]])
    tied = all(torch.equal(state[grown[0]], state[name]) for name in grown)
    for name in grown:
        state[name] = _grow_rows(state[name], min(known, before), size)
    write_state_dict(state, out)
    tokenizer.save_pretrained(tokenizer_folder)
    return VocabularyGrowth(added, present, before, max(before, size), tied)


def _add(tokenizer: Any, tokens: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Tokens that were added and tokens that were there, with their ids."""
    missing = add_missing(tokenizer, tokens)
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in tokens}
    return (
        {token: index for token, index in ids.items() if token in missing},
        {token: index for token, index in ids.items() if token not in missing},
    )


def _grow_rows(weight: Tensor, known: int, size: int) -> Tensor:
    grown = torch.cat([weight, weight.new_zeros(max(size - len(weight), 0), *weight.shape[1:])])
    fill_with_mean(grown, known, size)
    return grown
