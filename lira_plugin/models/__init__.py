"""The parts of LIRA, and LIRA."""

from lira_plugin.distributed import DataParallel
from lira_plugin.models.from_scratch.attribute_classes import AttributeClassifier
from lira_plugin.models.from_scratch.grid_queries import AnchorCost
from lira_plugin.models.from_scratch.prompted_segmenter import PromptedSegmenter
from lira_plugin.models.from_scratch.query_loss import QueryLoss
from lira_plugin.models.from_scratch.view_classifier import ViewClassifier
from lira_plugin.models.interleaved_llm import InterleavedLLM
from lira_plugin.models.lira import LIRA
from lira_plugin.models.mask_decoder import MaskDecoder
from lira_plugin.models.pixel_encoder.open_vocabulary import OpenVocabularyClassifier
from lira_plugin.models.pixel_encoder.pixel_encoder import PixelEncoder
from lira_plugin.models.pixel_encoder.segmenter import Mask2FormerSegmenter
from lira_plugin.models.sefe import SEFE, SemanticAttention
from lira_plugin.models.semantic_encoder import (
    InternViTEncoder,
    Qwen2_5VLEncoder,
    Qwen2VLEncoder,
    Qwen3VLEncoder,
    SemanticEncoder,
)

__all__ = [
    "LIRA",
    "SEFE",
    "AnchorCost",
    "AttributeClassifier",
    "DataParallel",
    "InterleavedLLM",
    "InternViTEncoder",
    "Mask2FormerSegmenter",
    "MaskDecoder",
    "OpenVocabularyClassifier",
    "PixelEncoder",
    "PromptedSegmenter",
    "QueryLoss",
    "Qwen2VLEncoder",
    "Qwen2_5VLEncoder",
    "Qwen3VLEncoder",
    "SemanticAttention",
    "SemanticEncoder",
    "ViewClassifier",
]
