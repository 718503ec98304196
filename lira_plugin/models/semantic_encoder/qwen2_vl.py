"""Qwen2-VL's vision tower as a semantic encoder."""

from collections.abc import Sequence
from typing import Any

from lira_plugin.compat.newer_transformers import from_transformers
from lira_plugin.models.semantic_encoder.qwen_vl import QwenVLEncoder
from lira_plugin.registry import MODELS

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@MODELS.register_module()
class Qwen2VLEncoder(QwenVLEncoder):
    """The vision tower of Qwen2-VL with its merger (arXiv 2409.12191, section 2.1; ``modeling_qwen2_vl.py`` of transformers).

    Args:
        hidden_size: H.
        tile_size: t, a multiple of the side of a token in pixels (28 in the published models).
        vision_args: arguments of transformers' ``Qwen2VLVisionConfig`` that are not as in the published models.
        mean, std: normalisation of values in 0..1; those of the published models, which are CLIP's.

    Raises:
        ValueError: the tile size is no multiple.
    """

    def __init__(
        self,
        hidden_size: int,
        tile_size: int = 448,
        vision_args: dict[str, Any] | None = None,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
    ) -> None:
        settings = from_transformers("models.qwen2_vl.configuration_qwen2_vl.Qwen2VLVisionConfig")
        tower = from_transformers("models.qwen2_vl.modeling_qwen2_vl.Qwen2VisionTransformerPretrainedModel")
        super().__init__(tower(settings(hidden_size=hidden_size, **(vision_args or {}))), tile_size, mean, std)
