"""What a LIRA asks of its data."""

from mmengine.model import BaseModel

from lira_plugin.models.answering import END_TOKEN
from lira_plugin.structures import InputSpec
from lira_plugin.tokens import SpecialTokens


def input_spec_of(model: BaseModel) -> InputSpec:
    """The settings that the data take from a LIRA, read off its parts."""
    spelling = model.tokenizer.convert_ids_to_tokens(list(model.ids))
    return InputSpec(
        image_size=model.pixel_encoder.image_size,
        pixel_cell=model.pixel_encoder.pixel_cell,
        object_tokens=model.pixel_encoder.segmenter.num_queries,
        tile_size=model.semantic_encoder.tile_size,
        tokens_per_tile=model.semantic_encoder.tokens_per_tile,
        semantic=model.sefe.enrich is not None,
        tokenizer=model.tokenizer,
        special_tokens=SpecialTokens(*spelling),
        template=model.llm.chat_template,
        end_token=model.generation.get("end_token", END_TOKEN),
        ilvc=model.generation.get("ilvc", True),
    )
