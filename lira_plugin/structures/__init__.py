"""Data classes that flow through the package."""

from lira_plugin.structures.answer_truth import LETTERS, AnswerTruth
from lira_plugin.structures.attribute_lexicon import AttributeLexicon, load_lexicon, load_lexicons
from lira_plugin.structures.attribute_truth import ATTRIBUTE_KINDS, AttributeKind, AttributeTruth
from lira_plugin.structures.conversation import Conversation, ExifRule, PhraseSpan, Record, Region, Turn
from lira_plugin.structures.det_samples import from_det_data_sample, is_det_data_sample, to_det_data_sample
from lira_plugin.structures.fault_kinds import DataFault, FaultKind, kind_of
from lira_plugin.structures.gcg_truth import GCGTruth, gcg_truth_files, read_gcg_truth
from lira_plugin.structures.grounding import (
    IGNORE_INDEX,
    GroundedSpan,
    GroundedText,
    GroundingBatch,
    GroundingSample,
    MaskStage,
    TokenKind,
    WordLogProbs,
)
from lira_plugin.structures.input_spec import InputSpec
from lira_plugin.structures.letterbox import Letterbox
from lira_plugin.structures.mask_pairs import MaskPrediction, MaskTarget
from lira_plugin.structures.masks import decode_segmentation, decode_union, encode_mask, is_empty_annotation, logit_of
from lira_plugin.structures.plurals import plurals
from lira_plugin.structures.prompts import (
    CHAT_TEMPLATES,
    GCG_QUESTIONS,
    INTERNVL2_TEMPLATE,
    ChatTemplate,
    build_template,
    instances_turn,
    reason_question,
    reason_turn,
    refer_label,
    refer_question,
    refer_turn,
)
from lira_plugin.structures.region_view import region_view, resize_image
from lira_plugin.structures.shown import shown
from lira_plugin.structures.visual_layout import VisualLayout

__all__ = [
    "ATTRIBUTE_KINDS",
    "CHAT_TEMPLATES",
    "GCG_QUESTIONS",
    "IGNORE_INDEX",
    "INTERNVL2_TEMPLATE",
    "LETTERS",
    "AnswerTruth",
    "AttributeKind",
    "AttributeLexicon",
    "AttributeTruth",
    "ChatTemplate",
    "Conversation",
    "DataFault",
    "ExifRule",
    "FaultKind",
    "GCGTruth",
    "GroundedSpan",
    "GroundedText",
    "GroundingBatch",
    "GroundingSample",
    "InputSpec",
    "Letterbox",
    "MaskPrediction",
    "MaskStage",
    "MaskTarget",
    "PhraseSpan",
    "Record",
    "Region",
    "TokenKind",
    "Turn",
    "VisualLayout",
    "WordLogProbs",
    "build_template",
    "decode_segmentation",
    "decode_union",
    "encode_mask",
    "from_det_data_sample",
    "gcg_truth_files",
    "instances_turn",
    "is_det_data_sample",
    "is_empty_annotation",
    "kind_of",
    "load_lexicon",
    "load_lexicons",
    "logit_of",
    "plurals",
    "read_gcg_truth",
    "reason_question",
    "reason_turn",
    "refer_label",
    "refer_question",
    "refer_turn",
    "region_view",
    "resize_image",
    "shown",
    "to_det_data_sample",
]
