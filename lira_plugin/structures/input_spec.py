"""What a model asks of its data: the settings that both have to agree on.

A new setting needs a field here, an entry in :data:`LIRA_SETTINGS`, a value in ``models/lira_input_spec.py``, and a transform
whose method ``fit_to_model`` reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lira_plugin.structures.prompts import ChatTemplate
from lira_plugin.tokens import SpecialTokens

LIRA_SETTINGS: Mapping[str, str] = {
    "image_size": "model.pixel_encoder.image_size",
    "pixel_cell": "model.pixel_encoder",
    "pixel_tokens": "model.pixel_encoder",
    "object_tokens": "model.pixel_encoder.segmenter.num_queries",
    "tile_size": "model.semantic_encoder",
    "tokens_per_tile": "model.semantic_encoder",
    "semantic": "model.sefe.enrich",
    "tokenizer": "model.tokenizer",
    "special_tokens": "model.special_tokens",
    "template": "model.llm.chat_template",
    "end_token": "model.generation.end_token",
    "ilvc": "model.generation.ilvc",
}
"""The setting of a LIRA's recipe that decides each of them, for messages."""


@dataclass(frozen=True)
class InputSpec:
    """What a model asks of its data, which take it from here. None is what the model leaves open.

    Args:
        image_size: side of a letterboxed image in pixels.
        pixel_cell: side of the square in the letterboxed image that becomes a pixel token, in pixels; 0 where none does.
        object_tokens: object queries of the segmenter.
        tile_size: side of a tile or view in pixels.
        tokens_per_tile: semantic tokens of a tile or view.
        semantic: whether semantic tokens stand in the visual block; False is "without SEFE".
        tokenizer: a Hugging Face tokenizer that knows the special tokens.
        special_tokens: their spelling.
        template: how turns become text.
        end_token: text of the token that ends an answer.
        ilvc: whether answers have views; False is "without ILVC".
        settings: where the model's recipe decides each of them, for messages.
    """

    image_size: int | None = None
    pixel_cell: int | None = None
    object_tokens: int | None = None
    tile_size: int | None = None
    tokens_per_tile: int | None = None
    semantic: bool | None = None
    tokenizer: Any = field(default=None, repr=False)
    special_tokens: SpecialTokens | None = None
    template: ChatTemplate | None = None
    end_token: str | None = None
    ilvc: bool | None = None
    settings: Mapping[str, str] = field(default_factory=lambda: LIRA_SETTINGS, repr=False)

    @property
    def pixel_tokens(self) -> int | None:
        """Pixel tokens of an image."""
        if self.pixel_cell == 0:
            return 0
        if self.image_size is None or self.pixel_cell is None:
            return None
        return (self.image_size // self.pixel_cell) ** 2
