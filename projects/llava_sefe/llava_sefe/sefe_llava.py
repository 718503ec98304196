"""xtuner's LLaVA whose image tokens look at a second encoder before the LLM reads them.

Shape letters: N images, S their side, P patches of the vision tower, U tokens a tile, H width of the LLM.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from xtuner.model import LLaVAModel
from xtuner.model.utils import prepare_inputs_labels_for_multimodal

from lira_plugin.checkpoint.files import load_into
from lira_plugin.registry import MODELS


@MODELS.register_module()
class SEFELLaVA(LLaVAModel):
    """LLaVA with SEFE: the projected patches look at semantic tokens of the same image, and the LLM reads both.

    Images come from xtuner's ``LLaVADataset``, as large as the tiles of the semantic encoder together. The vision tower gets them
    in its own size.

    Args:
        semantic_encoder: config of a :class:`~lira_plugin.models.SemanticEncoder`.
        sefe: config of a :class:`~lira_plugin.models.SEFE` with ``pixel_channels=None``, for xtuner's projector comes before it.
        tiles_along: how many tiles a side of the image is cut into.
        freeze_semantic_encoder: train no more of it than its projection.
        mean, std: of the images' processor.
        init_from: what the LLM and the semantic encoder start from, by the names of a LIRA: the arguments of
            :func:`~lira_plugin.checkpoint.files.load_into`.
        llava: arguments of xtuner's ``LLaVAModel``; ``llm`` and ``visual_encoder`` may also be new ones, from a config.
    """

    def __init__(
        self,
        semantic_encoder: dict,
        sefe: dict,
        tiles_along: int = 1,
        freeze_semantic_encoder: bool = False,
        mean: Sequence[float] = (0.48145466, 0.4578275, 0.40821073),
        std: Sequence[float] = (0.26862954, 0.26130258, 0.27577711),
        init_from: Sequence[dict] = (),
        **llava: Any,
    ) -> None:
        for name in ("llm", "visual_encoder"):  # xtuner would leave new weights as the memory was
            if "pretrained_model_name_or_path" not in llava[name]:
                config = MODELS.build(llava[name]["config"])
                llava[name] = MODELS.build(llava[name] | {"config": config})
        super().__init__(**llava)
        self.is_first_iter = False  # it moves the model to the device of ids that are embedded already
        self.semantic_encoder, self.sefe = MODELS.build(semantic_encoder), MODELS.build(sefe)
        self.semantic_encoder.requires_grad_(not freeze_semantic_encoder)
        self.semantic_encoder.get_submodule(self.semantic_encoder.PROJECTION).requires_grad_(True)
        self.tiles_along = tiles_along
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        named = nn.ModuleDict({"llm": nn.ModuleDict({"model": self.llm}), "semantic_encoder": self.semantic_encoder})
        for stage in init_from:
            load_into(named, **stage)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """What xtuner's LLaVA saves, which knows only its own parts, and what is trained of the new ones."""
        new = [
            kwargs.get("prefix", "") + name
            for name, parameter in self.named_parameters()
            if parameter.requires_grad and name.startswith(("sefe.", "semantic_encoder."))
        ]
        whole = nn.Module.state_dict(self, *args, **kwargs)
        return super().state_dict(*args, **kwargs) | {name: whole[name] for name in new}

    def forward(self, data: dict, data_samples: Any = None, mode: str = "loss") -> Any:
        """xtuner's, with the tokens of :meth:`image_tokens`; ``predict`` needs labels and judges answers by them."""
        if "pixel_values" in data:
            data = prepare_inputs_labels_for_multimodal(
                llm=self.llm, **data | {"pixel_values": self.image_tokens(data["pixel_values"])}
            )
        return super().forward(data, data_samples, mode)

    def image_tokens(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised images to (N, tiles * U + P, H); without SEFE (N, P, H)."""
        size, side = self.visual_encoder.config.image_size, self.semantic_encoder.tile_size
        small = F.interpolate(images, (size, size), mode="bicubic", antialias=True, align_corners=False)
        seen = self.visual_encoder(small.to(self.visual_encoder.dtype), output_hidden_states=True)
        patches = self.projector(seen.hidden_states[self.visual_select_layer][:, 1:])
        if self.sefe.enrich is None:
            return patches
        count, along = len(images), self.tiles_along
        pixels = ((images * self.std + self.mean).clamp(0, 1) * 255).round().to(torch.uint8)
        tiles = pixels.view(count, 3, along, side, along, side).permute(0, 2, 4, 1, 3, 5).reshape(-1, 3, side, side)
        tile_image = torch.arange(count, device=images.device).repeat_interleave(along * along)
        tokens = self.sefe(patches, self.semantic_encoder(tiles), tile_image)
        return torch.cat([tokens.semantic.reshape(count, -1, patches.shape[-1]), tokens.pixels], 1)

    def predict(self, data: dict, data_samples: Any = None) -> list[dict[str, float]]:
        """For each dialogue the sums that :class:`TurnAccuracy` takes, every answer after the true ones before it."""
        labels = data.pop("labels")[:, 1:]
        logits = self.llm(**data).logits[:, :-1].float()
        supervised = labels >= 0
        right = (logits.argmax(-1) == labels) | ~supervised
        losses = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        begins = supervised & ~F.pad(supervised, (1, 0))[:, :-1]
        answer = begins.cumsum(1) - 1  # index of the answer that a token is of
        sums = []
        for index, count in enumerate(begins.sum(1).tolist()):
            wrong = answer[index][~right[index]].unique()
            sums.append(
                {
                    "loss": float(losses[index].sum()),
                    "tokens": int(supervised[index].sum()),
                    "right": count - len(wrong),
                    "answers": count,
                }
            )
        return sums
