"""The LLMs that published vision-language models are made of, as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import (
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2TokenizerFast,
)

from lira_plugin.checkpoint.files import missing
from lira_plugin.compat.newer_transformers import from_transformers
from lira_plugin.convert.decoder_rules import INTERNLM2_NAMES, LLAMA_NAMES, DecoderNames
from lira_plugin.convert.fast_tokenizer import internlm2_tokenizer

SETTINGS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "initializer_range",
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "tie_word_embeddings",
    "deep_stack_levels",
)
"""What is taken from the configuration of an LLM, where it is there."""


def whole_tokenizer(path: str | Path, obtain: str = "") -> PreTrainedTokenizerFast:
    """The tokenizer of a folder whose ``tokenizer.json`` holds all of it.

    Raises:
        FileNotFoundError: a file is missing.
    """
    return _from_files(PreTrainedTokenizerFast, path, ("tokenizer_config.json", "tokenizer.json"), obtain)


def qwen2_tokenizer(path: str | Path, obtain: str = "") -> Qwen2TokenizerFast:
    """The tokenizer of a folder with a Qwen2; a recipe names it as the tokenizer's ``type``.

    Args:
        path: folder with ``tokenizer_config.json``, and ``tokenizer.json`` or ``vocab.json`` with ``merges.txt``.
        obtain: where the folder comes from, for the message when it is not there.

    Raises:
        FileNotFoundError: a file is missing.
    """
    whole = (Path(path) / "tokenizer.json").is_file()
    needed = ("tokenizer_config.json", *(() if whole else ("vocab.json", "merges.txt")))
    return _from_files(Qwen2TokenizerFast, path, needed, obtain)


def _from_files(kind: type, path: str | Path, needed: tuple[str, ...], obtain: str) -> Any:
    for name in needed:
        if not (Path(path) / name).is_file():
            raise FileNotFoundError(missing(Path(path) / name, obtain))
    return kind.from_pretrained(Path(path))


@dataclass(frozen=True)
class LlmFamily:
    """A family of LLMs."""

    architecture: str
    """What it becomes here: the name of transformers' class."""
    settings: str
    """The name of the class of its configuration."""
    names: DecoderNames
    qkv_bias: bool
    qk_norm: bool
    """Queries and keys are normalised in each head."""
    tokenizer: Callable[..., PreTrainedTokenizerBase]
    fixed: Mapping[str, Any]
    """Settings that would change the computation, with the value that is supported."""

    @property
    def model(self) -> type[PreTrainedModel]:
        """Transformers' class.

        Raises:
            ImportError: the installed version does not have it.
        """
        return from_transformers(self.architecture)

    def configure(self, llm: Mapping[str, Any], **settings: Any) -> PretrainedConfig:
        """The configuration of an LLM with these settings, of which some may be replaced.

        Raises:
            ImportError: the installed version of transformers does not have the family.
        """
        values = {name: llm[name] for name in SETTINGS if llm.get(name) is not None}
        rope = dict(llm.get("rope_parameters") or values.pop("rope_scaling", None) or {})
        kind = rope.pop("type", None)
        kind = rope.pop("rope_type", kind) or "default"
        if "rope_theta" in rope:  # as transformers 5 writes it
            values["rope_theta"] = rope.pop("rope_theta")
        if kind != "default":
            values["rope_scaling"] = {"rope_type": kind, **rope}
        return from_transformers(self.settings)(**{"tie_word_embeddings": False, **values, **settings})


FAMILIES = {
    "InternLM2ForCausalLM": LlmFamily(
        architecture="LlamaForCausalLM",
        settings="LlamaConfig",
        names=INTERNLM2_NAMES,
        qkv_bias=False,
        qk_norm=False,
        tokenizer=internlm2_tokenizer,
        fixed={"hidden_act": "silu", "bias": False, "tie_word_embeddings": False},
    ),
    "Qwen2ForCausalLM": LlmFamily(
        architecture="Qwen2ForCausalLM",
        settings="Qwen2Config",
        names=LLAMA_NAMES,
        qkv_bias=True,
        qk_norm=False,
        tokenizer=qwen2_tokenizer,
        fixed={"hidden_act": "silu", "use_sliding_window": False},
    ),
    "Qwen3ForCausalLM": LlmFamily(
        architecture="Qwen3ForCausalLM",
        settings="Qwen3Config",
        names=LLAMA_NAMES,
        qkv_bias=False,
        qk_norm=True,
        tokenizer=qwen2_tokenizer,
        fixed={"hidden_act": "silu", "use_sliding_window": False, "attention_bias": False},
    ),
    "LlamaForCausalLM": LlmFamily(
        architecture="LlamaForCausalLM",
        settings="LlamaConfig",
        names=LLAMA_NAMES,
        qkv_bias=False,
        qk_norm=False,
        tokenizer=whole_tokenizer,
        fixed={"hidden_act": "silu", "attention_bias": False, "mlp_bias": False},
    ),
}
"""By the architecture that a published ``config.json`` names. InternLM2 in transformers' layout is a Llama."""
ARCHITECTURES = {"qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM"}
"""By transformers' ``model_type``."""
