"""Qwen3-VL's vision tower as a semantic encoder: its tokens are of several layers, for the LLM's first ones.

DeepStack (arXiv 2406.04334) gives an LLM more of an image than fits into one token. The outputs of some layers of the tower are
projected, as the last one's are. They are added to the hidden states behind the LLM's first layers. A token is therefore
(1 + L) * H wide here, see :mod:`lira_plugin.models.deep_stack`.

Shape letters: T tiles, P patches a tile, g patches along its side, m patches along the side of a token, W width of the
transformer, L layers that DeepStack takes, H width of the LLM.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lira_plugin.compat.newer_transformers import from_transformers
from lira_plugin.models.semantic_encoder.qwen_vl import QwenVLEncoder
from lira_plugin.registry import MODELS


@MODELS.register_module()
class Qwen3VLEncoder(QwenVLEncoder):
    """The vision tower of Qwen3-VL with its mergers (arXiv 2511.21631; ``modeling_qwen3_vl.py`` of transformers >= 4.57).

    Args:
        hidden_size: H.
        tile_size: t, a multiple of the side of a token in pixels (32 in the published models).
        vision_args: arguments of transformers' ``Qwen3VLVisionConfig`` that are not as in its default.
        mean, std: normalisation of values in 0..1, as in the published models.

    Raises:
        ImportError: the installed version of transformers does not have the model.
        ValueError: the tile size is no multiple, or DeepStack's layers are not in order.
    """

    PROJECTION = "projector"

    def __init__(
        self,
        hidden_size: int,
        tile_size: int = 512,
        vision_args: dict[str, Any] | None = None,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        settings = from_transformers("models.qwen3_vl.configuration_qwen3_vl.Qwen3VLVisionConfig")
        tower = from_transformers("models.qwen3_vl.modeling_qwen3_vl.Qwen3VLVisionModel")
        visual = tower(settings(**{**(vision_args or {}), "out_hidden_size": hidden_size}))
        super().__init__(visual, tile_size, mean, std)
        self.levels = tuple(visual.config.deepstack_visual_indexes)
        if list(self.levels) != sorted({*self.levels} & {*range(len(visual.blocks))}):
            raise ValueError(
                f"deepstack_visual_indexes must be layers of {len(visual.blocks)} in ascending order, got {list(self.levels)}"
            )
        self.projector = nn.ModuleList([visual.merger, *visual.deepstack_merger_list])
        del visual.merger, visual.deepstack_merger_list

    @property
    def deep_stack_levels(self) -> int:
        """L."""
        return len(self.levels)

    def features(self, tiles: Tensor) -> Tensor:
        """(T, 3, t, t) uint8 tiles to (T, 1 + L, P, W): the last layer's output, then those of DeepStack's layers."""
        taken = []
        for layer, hidden in enumerate(self.layer_outputs(tiles)):
            if layer in self.levels:
                taken.append(hidden)
        return torch.stack([hidden, *taken], 1)

    def project(self, features: Tensor) -> Tensor:
        """(T, 1 + L, P, W) to (T, P / m^2, (1 + L) * H)."""
        merged = [merger(level.flatten(0, 1)) for merger, level in zip(self.projector, features.unbind(1), strict=True)]
        return torch.cat(merged, -1).unflatten(0, (len(features), self.tokens_per_tile))

    def embed(self, tiles: Tensor) -> Tensor:
        """Normalised tiles to (T, P, W), with learnt positions that are interpolated to the grid of a tile."""
        learnt = self.visual.pos_embed.weight  # (rows * columns, W) of a square grid
        grid = learnt.T.float().unflatten(1, (self.visual.num_grid_per_side, -1))
        positions = F.interpolate(grid[None], (self.grid, self.grid), mode="bilinear", align_corners=True)
        return super().embed(tiles) + self.arrange(positions.permute(0, 2, 3, 1)).to(learnt.dtype)
