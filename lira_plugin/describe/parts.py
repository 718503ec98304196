"""Parameters of a recipe's model, built without weights: no file is needed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelerate import init_empty_weights
from mmengine.model import BaseModel
from torch import nn

from lira_plugin.convert.published import TOKENIZER_SIZES
from lira_plugin.describe.blank_tokenizer import blank_tokenizer
from lira_plugin.models import LIRA
from lira_plugin.models.interleaved_llm import build_causal_lm, tie_head
from lira_plugin.registry import MODELS
from lira_plugin.structures import InputSpec
from lira_plugin.tokens import SpecialTokens, build_tokenizer


@dataclass(frozen=True)
class PartSize:
    """Parameters of a part."""

    total: int
    trainable: int


@dataclass(frozen=True)
class RecipeSize:
    """A model without weights, and its parameters by part.

    Args:
        model: all its parameters are on the meta device.
        parts: by name of the part.
        base: parameters of what the LLM's publisher gives, which is semantic encoder and LLM without new tokens and adapters;
            0 for a model that is no LIRA.
        notes: what was assumed because a file is not there.
    """

    model: nn.Module
    parts: dict[str, PartSize]
    base: int
    notes: tuple[str, ...]

    @property
    def total(self) -> int:
        """Parameters of all parts."""
        return sum(part.total for part in self.parts.values())

    @property
    def trainable(self) -> int:
        """Trained parameters of all parts."""
        return sum(part.trainable for part in self.parts.values())


def measure_recipe(model: Mapping[str, Any]) -> RecipeSize:
    """Build a recipe's model without weights and count.

    Earlier stages are not loaded. Where the tokenizer's files are absent, its size is taken to be that of the published one or
    of the LLM's vocabulary, with the special tokens if they are to be added.

    Args:
        model: config of a LIRA, or of a part that trains alone.
    """
    kind = model["type"]
    if isinstance(kind, str):  # as in a recipe that MMEngine has written into a work dir
        kind = MODELS.get(kind)
    if kind is not LIRA:
        with init_empty_weights(include_buffers=False):
            built = MODELS.build({**model})
        return RecipeSize(built, count_parts(built), 0, ())
    with init_empty_weights(include_buffers=False):
        llm = build_causal_lm({**model["llm"]["llm"]})
    tie_head(llm)
    llm_size = _count(llm.parameters())
    tokenizer, notes = _tokenizer(model, llm.get_input_embeddings().num_embeddings)
    replaced = {"tokenizer": tokenizer, "init_from": [], "llm": {**model["llm"], "llm": llm}}
    with init_empty_weights(include_buffers=False):
        built = MODELS.build({**model, **replaced})
    tie_head(built.llm.causal_lm)
    parts = count_parts(built)
    return RecipeSize(built, parts, parts["semantic_encoder"].total + llm_size, notes)


def input_spec_of_recipe(model: Mapping[str, Any]) -> InputSpec | None:
    """What a recipe's model asks of its data, found without its weights; None where it does not say.

    Args:
        model: config of a LIRA, or of a part that trains alone.

    Raises:
        FileNotFoundError: the tokenizer's files are not there.
    """
    if "tokenizer" in model:
        build_tokenizer(model["tokenizer"])  # for the measured model would take a blank one
    built = measure_recipe(model).model
    return built.input_spec if hasattr(type(built), "input_spec") else None


def count_parts(model: BaseModel) -> dict[str, PartSize]:
    """Parameters of the direct children that have any; one that two parts share counts for the first."""
    seen: set[int] = set()
    parts = {}
    for name, child in model.named_children():
        own = [parameter for parameter in child.parameters() if id(parameter) not in seen]
        seen |= {id(parameter) for parameter in own}
        if own:
            parts[name] = PartSize(_count(own), _count(parameter for parameter in own if parameter.requires_grad))
    return parts


def _count(parameters: Any) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _tokenizer(model: Mapping[str, Any], rows: int) -> tuple[Any, tuple[str, ...]]:
    try:
        return build_tokenizer(model["tokenizer"]), ()
    except (OSError, ValueError) as error:  # of transformers too, which asks the hub where there is no folder
        reason = str(error).splitlines()[0]
    rows = TOKENIZER_SIZES.get(model["llm"]["llm"].get("published"), rows)
    tokens = SpecialTokens(**(model.get("special_tokens") or {}))
    if not tokens.add_missing:  # they are among the rows
        rows -= len(tokens.in_order)
    tokenizer = blank_tokenizer(rows)
    tokens.add_to(tokenizer)
    return tokenizer, (f"a vocabulary of {len(tokenizer)} tokens is assumed: {reason}",)
