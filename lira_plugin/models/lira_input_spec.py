"""What a LIRA asks of its data, and what any model asks that reads images as a LIRA's LLM does."""

from typing import Any

from mmengine.model import BaseModel

from lira_plugin.models.answering import END_TOKEN
from lira_plugin.structures import InputSpec
from lira_plugin.tokens import SpecialTokens


def input_spec_of(model: BaseModel) -> InputSpec:
    """The settings that the data take from a LIRA, read off its parts."""
    return InputSpec(
        image_size=model.pixel_encoder.image_size,
        pixel_cell=model.pixel_encoder.pixel_cell,
        object_tokens=model.pixel_encoder.segmenter.num_queries,
        semantic=model.sefe.enrich is not None,
        **language_settings(model),
    )


def language_settings(model: BaseModel) -> dict[str, Any]:
    """The fields of :class:`InputSpec` that a tokenizer, an LLM and a semantic encoder decide.

    Args:
        model: with ``tokenizer``, ``ids``, ``llm``, ``semantic_encoder`` and ``generation``, each as a LIRA's.
    """
    spelling = model.tokenizer.convert_ids_to_tokens(list(model.ids))
    return {
        "tile_size": model.semantic_encoder.tile_size,
        "tokens_per_tile": model.semantic_encoder.tokens_per_tile,
        "tokenizer": model.tokenizer,
        "special_tokens": SpecialTokens(*spelling),
        "template": model.llm.chat_template,
        "end_token": model.generation.get("end_token", END_TOKEN),
        "ilvc": model.generation.get("ilvc", True),
    }
