"""Data classes that flow through the package."""

from lira_plugin.structures.conversation import (
    INTERNVL2_TEMPLATE,
    ChatTemplate,
    Conversation,
    PhraseSpan,
    Record,
    Region,
    Turn,
    refer_question,
    refer_turn,
)
from lira_plugin.structures.grounding import (
    IGNORE_INDEX,
    GroundedSpan,
    GroundedText,
    GroundingBatch,
    GroundingSample,
    RowKind,
)
from lira_plugin.structures.letterbox import Letterbox
from lira_plugin.structures.masks import decode_segmentation, decode_union, encode_mask

__all__ = [
    "IGNORE_INDEX",
    "INTERNVL2_TEMPLATE",
    "ChatTemplate",
    "Conversation",
    "GroundedSpan",
    "GroundedText",
    "GroundingBatch",
    "GroundingSample",
    "Letterbox",
    "PhraseSpan",
    "Record",
    "Region",
    "RowKind",
    "Turn",
    "decode_segmentation",
    "decode_union",
    "encode_mask",
    "refer_question",
    "refer_turn",
]
