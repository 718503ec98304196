"""transformers' SAM with the state of a ``<seg>`` as its prompt.

Shape letters: N images, S image side, C channels, g side of SAM's grid of patches, K ``<seg>`` states, H width of the LLM.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import SamModel

from lira_plugin.registry import MODELS


@MODELS.register_module()
class SamDecoder(nn.Module):
    """SAM's image encoder and mask decoder, and the projection of states to prompt embeddings (``text_hidden_fcs`` of LISA).

    Args:
        sam: config of a ``SamModel``, such as ``dict(type=SamModel.from_pretrained, ...)``; its ``config`` may be one too.
        hidden_size: H.
        position_scale: of SAM's random Fourier features, 1 in the published weights. transformers draws new ones at half of the
            encoder's width, too fine to learn from. None keeps what the weights say.
        mean, std: normalisation of values in 0..1.
    """

    def __init__(
        self,
        sam: dict,
        hidden_size: int,
        position_scale: float | None = None,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__()
        sam = dict(sam)
        if isinstance(sam.get("config"), dict):
            sam["config"] = MODELS.build(sam["config"])
        self.sam: SamModel = MODELS.build(sam)
        if position_scale is not None:
            positions = self.sam.shared_image_embedding
            positions.positional_embedding.mul_(position_scale / positions.scale)
        prompts, decoder = self.sam.prompt_encoder, self.sam.mask_decoder
        for unused in (prompts.mask_embed, prompts.point_embed, prompts.not_a_point_embed, decoder.iou_prediction_head):
            unused.requires_grad_(False)
        channels = self.sam.config.mask_decoder_config.hidden_size
        self.state_proj = nn.Sequential(
            nn.Linear(hidden_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, channels)
        )
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @property
    def image_size(self) -> int:
        """S."""
        return self.sam.config.vision_config.image_size

    def encode(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) uint8 to (N, C, g, g)."""
        return self.sam.vision_encoder((images.to(self.mean.dtype) / 255 - self.mean) / self.std)[0]

    def forward(self, states: Tensor, state_image: Tensor, embeddings: Tensor) -> Tensor:
        """Mask logits (K, 4g, 4g) of (K, H) states, each with its image (K,), over the (N, C, g, g) embeddings of images.

        Without states, SAM decodes one of zeros for nothing, so that every process runs it.
        """
        count = len(states)
        if not count:
            states, state_image = states.new_zeros(1, states.shape[1]), state_image.new_zeros(1)
        _, no_mask = self.sam.prompt_encoder(None, None, None, None)
        masks, *_ = self.sam.mask_decoder(
            image_embeddings=embeddings[state_image],
            image_positional_embeddings=self.sam.get_image_wide_positional_embeddings().expand(len(states), -1, -1, -1),
            sparse_prompt_embeddings=self.state_proj(states.to(self.state_proj[0].weight.dtype))[:, None, None],
            dense_prompt_embeddings=no_mask,
            multimask_output=False,
        )
        return masks[:count, 0, 0]
