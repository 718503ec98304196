"""The LLM's linear layers in 8 or 4 bits: to answer, or to train adapters around them (QLoRA, arXiv 2305.14314).

What is quantized are the weights of the decoder layers. Embedding, head, norms and adapters stay as they are.
"""

from collections.abc import Iterator
from importlib.util import find_spec

from torch import nn
from transformers import PreTrainedModel

from lira_plugin.settings import WrongSetting

KINDS = ("int8", "nf4")
"""Whole numbers of 8 bits with a scale a row (torchao), and 4 bits with a scale for each block (bitsandbytes)."""
PACKAGES = {"int8": "torchao", "nf4": "bitsandbytes"}
NF4_BYTES = 0.5 + 4 / 64
"""A weight takes in ``nf4``: 64 of them share a scale."""


def quantize_llm(llm: PreTrainedModel, kind: str) -> None:
    """Quantize the weights of the decoder layers where they are; their originals are freed one after the other.

    Args:
        llm: a causal LM whose weights are loaded, with adapters or without.
        kind: one of :data:`KINDS`.

    Raises:
        WrongSetting: there is no such kind.
        ImportError: its package is missing.
    """
    check_kind(kind)
    decoder = llm.base_model
    if kind == "int8":
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        quantize_(decoder, Int8WeightOnlyConfig(), filter_fn=lambda module, name: is_quantized(name, module))
        return
    from lira_plugin.models.nf4_linear import NF4Linear

    for name, module in list(linear_layers(decoder)):
        path, _, leaf = name.rpartition(".")
        setattr(decoder.get_submodule(path), leaf, NF4Linear(module))


def check_kind(kind: str) -> None:
    """Refuse a kind that cannot be had.

    Raises:
        WrongSetting: there is no such kind.
        ImportError: its package is missing.
    """
    if kind not in KINDS:
        raise WrongSetting(f"quantize={kind!r} is unknown: give 'int8' or 'nf4', or None for weights as they are")
    if find_spec(PACKAGES[kind]) is None:
        raise ImportError(
            f"quantize={kind!r} needs {PACKAGES[kind]}: uv sync --extra quantize, or pip install -e '.[quantize]'"
        )


def linear_layers(decoder: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """What is quantized, with its names."""
    yield from ((name, module) for name, module in decoder.named_modules() if is_quantized(name, module))


def is_quantized(name: str, module: nn.Module) -> bool:
    """Whether a module inside of a decoder stack is a linear layer of the LLM itself."""
    return type(module) is nn.Linear and name.startswith("layers.") and ".lora_" not in name
