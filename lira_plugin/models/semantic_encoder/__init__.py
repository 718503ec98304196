"""Semantic encoders: tiles in, tokens of the LLM's width out."""

from lira_plugin.models.semantic_encoder.base import SemanticEncoder
from lira_plugin.models.semantic_encoder.feature_cache import FeatureCache
from lira_plugin.models.semantic_encoder.internvit import InternViTEncoder
from lira_plugin.models.semantic_encoder.qwen2_5_vl import Qwen2_5VLEncoder
from lira_plugin.models.semantic_encoder.qwen2_vl import Qwen2VLEncoder
from lira_plugin.models.semantic_encoder.qwen3_vl import Qwen3VLEncoder

__all__ = [
    "FeatureCache",
    "InternViTEncoder",
    "Qwen2VLEncoder",
    "Qwen2_5VLEncoder",
    "Qwen3VLEncoder",
    "SemanticEncoder",
]
