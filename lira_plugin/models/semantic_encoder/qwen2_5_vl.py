"""Qwen2.5-VL's vision tower as a semantic encoder: most of its layers look at windows of a tile alone.

Shape letters: T tiles, P patches a tile, m patches along the side of a token, s tokens along the side of a window, W width of
the transformer, C channels, H width of the LLM.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from lira_plugin.compat.newer_transformers import from_transformers
from lira_plugin.models.semantic_encoder.qwen2_vl import CLIP_MEAN, CLIP_STD
from lira_plugin.models.semantic_encoder.qwen_vl import QwenVLEncoder, blocks_first
from lira_plugin.models.space_to_depth import space_to_depth
from lira_plugin.registry import MODELS


@MODELS.register_module()
class Qwen2_5VLEncoder(QwenVLEncoder):
    """The vision tower of Qwen2.5-VL (arXiv 2502.13923, section 2.1; ``modeling_qwen2_5_vl.py`` of transformers >= 4.57).

    Args:
        hidden_size: H.
        tile_size: t, a multiple of the side of a window in pixels (112 in the published models).
        vision_args: arguments of transformers' ``Qwen2_5_VLVisionConfig`` that are not as in the published models.
        mean, std: normalisation of values in 0..1; those of the published models, which are CLIP's.

    Raises:
        ImportError: the installed version of transformers does not have the model.
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
        settings = from_transformers("models.qwen2_5_vl.configuration_qwen2_5_vl.Qwen2_5_VLVisionConfig")
        tower = from_transformers("models.qwen2_5_vl.modeling_qwen2_5_vl.Qwen2_5_VisionTransformerPretrainedModel")
        config = settings(**{"hidden_size": 1280, **(vision_args or {}), "out_hidden_size": hidden_size})
        super().__init__(tower(config), tile_size, mean, std)
        token = config.patch_size * config.spatial_merge_size
        self.window = config.window_size // token
        side = self.window * token
        if tile_size % side:
            raise ValueError(f"tile_size must be a multiple of {side}, the side of a window in pixels, got {tile_size}")
        self.windows_along = tile_size // side

    def features(self, tiles: Tensor) -> Tensor:
        """See the base class."""
        windows = (
            super().features(tiles).unflatten(1, (self.windows_along, self.windows_along, self.window, self.window, -1))
        )
        return windows.transpose(2, 3).flatten(1, 5)

    def arrange(self, patches: Tensor) -> Tensor:
        """Order patches such that those of a window, and in it those of a token, follow each other: (T, g, g, C) to (T, P, C)."""
        tokens = blocks_first(space_to_depth(patches, self.merge), self.window)
        return tokens.unflatten(-1, (self.merge**2, -1)).flatten(1, 2)

    def windows(self, layer: int) -> int:
        """One in the layers that look at all of a tile."""
        return 1 if layer in self.visual.config.fullatt_block_indexes else self.windows_along**2
