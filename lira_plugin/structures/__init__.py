"""Data classes that flow through the package."""

from lira_plugin.structures.conversation import (
    CHAT_TEMPLATES,
    INTERNVL2_TEMPLATE,
    ChatTemplate,
    Conversation,
    PhraseSpan,
    Record,
    Region,
    Turn,
    refer_label,
    refer_question,
    refer_turn,
)
from lira_plugin.structures.grounding import (
    IGNORE_INDEX,
    GroundedSpan,
    GroundedText,
    GroundingBatch,
    GroundingSample,
    MaskView,
    RowKind,
)
from lira_plugin.structures.letterbox import Letterbox
from lira_plugin.structures.masks import decode_segmentation, decode_union, encode_mask, logit_of
from lira_plugin.structures.region_view import region_view, resize_image
from lira_plugin.structures.visual_layout import VisualLayout

__all__ = [
    "CHAT_TEMPLATES",
    "IGNORE_INDEX",
    "INTERNVL2_TEMPLATE",
    "ChatTemplate",
    "Conversation",
    "GroundedSpan",
    "GroundedText",
    "GroundingBatch",
    "GroundingSample",
    "Letterbox",
    "MaskView",
    "PhraseSpan",
    "Record",
    "Region",
    "RowKind",
    "Turn",
    "VisualLayout",
    "decode_segmentation",
    "decode_union",
    "encode_mask",
    "logit_of",
    "refer_label",
    "refer_question",
    "refer_turn",
    "region_view",
    "resize_image",
]
