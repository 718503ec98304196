"""The parts of LIRA, and LIRA."""

from lira_plugin.models.anchor_cost import AnchorCost
from lira_plugin.models.data_parallel import DataParallel
from lira_plugin.models.interleaved_llm import InterleavedLLM
from lira_plugin.models.lira import LIRA
from lira_plugin.models.mask_decoder import MaskDecoder
from lira_plugin.models.pixel_encoder import PixelEncoder
from lira_plugin.models.qwen2_vl_encoder import Qwen2VLEncoder
from lira_plugin.models.sefe import SEFE
from lira_plugin.models.segmenter import Mask2FormerSegmenter
from lira_plugin.models.semantic_encoder import SemanticEncoder
from lira_plugin.models.view_classifier import ViewClassifier

__all__ = [
    "LIRA",
    "SEFE",
    "AnchorCost",
    "DataParallel",
    "InterleavedLLM",
    "Mask2FormerSegmenter",
    "MaskDecoder",
    "PixelEncoder",
    "Qwen2VLEncoder",
    "SemanticEncoder",
    "ViewClassifier",
]
