"""What is trained, what is frozen, and what a checkpoint holds: all in one place."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from transformers import PreTrainedModel


def freeze(module: nn.Module) -> None:
    """Keep a module fixed: no gradients, and evaluation mode (see :func:`keep_frozen_in_eval`)."""
    module.requires_grad_(False).eval()


def keep_frozen_in_eval(modules: Iterable[nn.Module]) -> None:
    """Put frozen modules back into evaluation mode, to be called at the end of ``train()``."""
    for module in modules:
        module.eval()


def add_lora(llm: PreTrainedModel, lora: dict[str, Any]) -> nn.Module:
    """Wrap a causal LM with LoRA adapters.

    Args:
        llm: the model.
        lora: arguments of :class:`peft.LoraConfig`, plus ``train_embeddings`` (default False): train the input embedding and
            the head in full beside the adapters, as LIRA does.
    """
    from peft import LoraConfig, get_peft_model

    lora = dict(lora)
    train_embeddings = lora.pop("train_embeddings", False)
    wrapped = get_peft_model(llm, LoraConfig(task_type="CAUSAL_LM", **lora))
    if train_embeddings:
        base = wrapped.get_base_model()
        base.get_input_embeddings().requires_grad_(True)
        base.get_output_embeddings().requires_grad_(True)
    return wrapped


def trainable_names(module: nn.Module) -> list[str]:
    """Names of the parameters that are trained, in order."""
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]
