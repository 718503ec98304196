"""Semantic encoders: tiles in, tokens of the LLM's width out."""

from lira_plugin.models.semantic_encoder.base import SemanticEncoder
from lira_plugin.models.semantic_encoder.feature_cache import FeatureCache
from lira_plugin.models.semantic_encoder.internvit import InternViTEncoder
from lira_plugin.models.semantic_encoder.qwen2_vl import Qwen2VLEncoder

__all__ = ["FeatureCache", "InternViTEncoder", "Qwen2VLEncoder", "SemanticEncoder"]
