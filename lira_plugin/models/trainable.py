"""What is trained and what is frozen, all in one place."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from lira_plugin.settings import parameters_of, refuse_unknown


def freeze(module: nn.Module) -> None:
    """Keep a module fixed: no gradients, and evaluation mode (see :func:`keep_frozen_in_eval`)."""
    module.requires_grad_(False).eval()


def named_modules_of(module: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """The modules of these dotted names.

    Raises:
        ValueError: there is none of a name; the message has those beside it.
    """
    found = []
    for name in names:
        holder = module
        for part in name.split("."):
            if part not in holder._modules:
                where = "the model" if holder is module else type(holder).__name__
                raise ValueError(
                    f"frozen names {name!r}: {where} has no part {part!r}, but {', '.join(holder._modules)}"
                )
            holder = holder._modules[part]
        found.append(holder)
    return found


def keep_frozen_in_eval(modules: Iterable[nn.Module]) -> None:
    """Put frozen modules back into evaluation mode, to be called at the end of ``train()``."""
    for module in modules:
        module.eval()


def add_lora(llm: PreTrainedModel, lora: dict[str, Any]) -> nn.Module:
    """Wrap a causal LM with LoRA adapters.

    Args:
        llm: the model.
        lora: arguments of :class:`peft.LoraConfig`, plus ``train_embeddings`` (default False): train the input embedding and
            the head in full beside the adapters, as LIRA does, and ``shared_inputs`` (default none): names of linear layers that
            read the same input, which then share the adapter's matrix A. With ``("q_proj", "k_proj", "v_proj")`` the adapters are
            those of one fused projection, as InternLM2 has it in the published checkpoints.

    Raises:
        ValueError: a layer of ``shared_inputs`` has no adapter.
        WrongSetting: ``lora`` has a name that is none of these.
    """
    from peft import LoraConfig, get_peft_model

    lora = dict(lora)
    refuse_unknown(lora, parameters_of(LoraConfig)[0].keys() | {"train_embeddings", "shared_inputs"}, "lora")
    train_embeddings, shared_inputs = lora.pop("train_embeddings", False), lora.pop("shared_inputs", ())
    wrapped = get_peft_model(llm, LoraConfig(task_type="CAUSAL_LM", **lora))
    if train_embeddings:
        base = wrapped.get_base_model()
        base.get_input_embeddings().requires_grad_(True)
        base.get_output_embeddings().requires_grad_(True)
    if shared_inputs:
        _share_inputs(wrapped, shared_inputs)
    return wrapped


def _share_inputs(model: nn.Module, names: Sequence[str]) -> None:
    """Let sibling layers of these names have one matrix A."""
    first_name = names[0]
    parents = [module for module in model.modules() if first_name in module._modules]
    groups = [[parent._modules.get(name) for name in names] for parent in parents]
    if not groups or not all(hasattr(layer, "lora_A") for group in groups for layer in group):
        raise ValueError(f"shared_inputs names {list(names)}: they must lie side by side and be among target_modules")
    for first, *others in groups:
        for layer in others:
            layer.lora_A = first.lora_A
