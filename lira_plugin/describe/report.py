"""All that can be said of a recipe before any weight is there."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from lira_plugin.describe.memory import AMP, BF16, DEEPSPEED, ActivationShape, estimate_memory
from lira_plugin.describe.parts import RecipeSize, measure_recipe
from lira_plugin.describe.sequence import SequencePlan
from lira_plugin.models import LIRA

STAGES = {"amp": (AMP, 0), "zero1": (DEEPSPEED, 1), "zero2": (DEEPSPEED, 2), "zero3": (DEEPSPEED, 3)}
"""Ways to train, each with its precision and stage of ZeRO."""


def describe_recipe(
    config: Mapping[str, Any],
    sizes: Sequence[tuple[int, int]] = ((480, 640),),
    gpus: Sequence[int] = (1, 8),
    text: int = 256,
    regions: int = 3,
) -> dict[str, Any]:
    """Count parameters, positions and bytes of a recipe, as plain data.

    Args:
        config: the recipe.
        sizes: (height, width) of images; the first is the one that activations are estimated for.
        gpus: how many GPUs, each of them a case to estimate memory for.
        text: text tokens of a sample, half of them supervised.
        regions: region views of a sample with ILVC; none in a stage without masks.

    Returns:
        ``parts`` (``total`` and ``trainable`` of each), ``total``, ``trainable``, ``base`` (see :class:`RecipeSize`),
        ``sequence``, ``memory_gb`` by way of training and count of GPUs, ``inference_gb`` (weights in bf16, and the keys and
        values of one such sequence), ``notes``. A recipe that is no LIRA has no ``sequence`` and no ``inference_gb``, and its
        memory is without activations.
    """
    size = measure_recipe(config["model"])
    described = {
        "parts": {name: asdict(part) for name, part in size.parts.items()},
        "total": size.total,
        "trainable": size.trainable,
        "base": size.base,
        "notes": list(size.notes),
    }
    activations = 0.0
    if isinstance(size.model, LIRA):
        loader = config["train_dataloader"]
        plan = SequencePlan.of_pipeline(loader["dataset"]["pipeline"], size.model.input_spec)
        grounded = size.model.loss_weights["masks"] or len(size.model.extra_losses)
        regions = regions if grounded and plan.view_share else 0
        length = plan.length(plan.image(*sizes[0]), text, regions)
        batch = loader["batch_size"]
        shape = activation_shape(size)
        activations = shape.bytes(batch * length, batch * min(text, plan.max_text) // 2)
        weights, cache = size.total * BF16 / 1e9, shape.cache_bytes(length) / 1e9
        described["inference_gb"] = {"weights": round(weights, 3), "cache": round(cache, 3)}
        described["sequence"] = plan.describe(list(sizes)) | {
            "text": text,
            "regions": regions,
            "length": length,
            "batch_size": batch,
        }
    quantized = count_quantized(size.model)
    described["memory_gb"] = {
        name: {
            str(count): estimate_memory(
                size.total, size.trainable, precision, stage, count, activations, quantized
            ).in_gb()
            for count in gpus
        }
        for name, (precision, stage) in STAGES.items()
    }
    return described


def count_quantized(model: nn.Module) -> int:
    """Parameters that the recipe keeps in 4 bits."""
    if not isinstance(model, LIRA) or not model.llm.quantize:
        return 0
    layers = (module for module in model.modules() if type(module).__name__ == "NF4Linear")
    return sum(layer.in_features * layer.out_features for layer in layers)


def activation_shape(size: RecipeSize) -> ActivationShape:
    """Of the LLM of a measured LIRA."""
    llm = size.model.llm.causal_lm
    config = llm.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    layer = llm.base_model.layers[0]
    adapted = [
        module.base_layer.in_features
        for module in layer.modules()
        if hasattr(module, "lora_A") and isinstance(module.base_layer, nn.Linear)
    ]
    return ActivationShape(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        key_width=head * (getattr(config, "num_key_value_heads", None) or config.num_attention_heads),
        feed_forward=config.intermediate_size,
        vocabulary=llm.get_input_embeddings().num_embeddings,
        adapted=sum(adapted),
        checkpointing=bool(llm.is_gradient_checkpointing),
    )
