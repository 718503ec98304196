"""OMG-Seg with CLIP's ConvNeXt to the names of our :class:`~lira_plugin.models.PixelEncoder`.

The head comes from ``omg_seg_convl.pth``; the backbone from the same file where it holds one, else from the CLIP checkpoint that
OMG-Seg was trained over. The class embeddings are a file of their own, which the recipe names.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate import init_empty_weights
from torch import Tensor

from lira_plugin.convert.safetensors_folder import TensorInfo
from lira_plugin.convert.shards import write_shards
from lira_plugin.convert.tensor_rules import TensorRule, check_rules
from lira_plugin.convert.torch_file import TorchFile
from lira_plugin.models import PixelEncoder
from lira_plugin.registry import MODELS

HEAD, CLASSIFIER = "panoptic_head.", "cls_embed."
OMG_BACKBONE, CLIP_BACKBONE = "backbone.", "visual.trunk."
UNUSED = {
    r"panoptic_head\.(iou_embed|mask_tokens|pb_embedding|pos_linear)\..*": "LIRA gives no points or boxes, and ranks no masks",
    r"(backbone|visual\.trunk)\.(norm_pre|head)\..*": "only the feature maps of the backbone are used",
}
NOT_OF_IMAGES = {r"(?!visual\.trunk\.).*": "not of the image encoder"}


def convert_omg_seg(
    pixel_encoder: Mapping[str, Any], weights: str | Path, out: str | Path, clip: str | Path | None = None
) -> dict[str, str]:
    """Convert into ``out/model.safetensors``, which a recipe's ``init_from`` reads.

    Args:
        pixel_encoder: the recipe's config of its pixel encoder, which says what is expected; its class embeddings are not read.
        weights: ``omg_seg_convl.pth``.
        out: folder to write to.
        clip: checkpoint of open_clip's ``convnext_large_d_320``; for weights without a backbone.

    Returns:
        Tensors that are not used, with the reason.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file holds code or is cut off, does not have the expected tensors, or no file has the backbone.
    """
    head = TorchFile(weights)
    own_backbone = any(name.startswith(f"{OMG_BACKBONE}stem.") for name in head.infos)
    if not own_backbone and clip is None:
        raise ValueError(
            f"{weights} holds no backbone: give the CLIP checkpoint it was trained over as well (convnext_large_d_320, "
            "laion2b_s29b_b131k_ft_soup; docs/weights.md)"
        )
    with init_empty_weights(include_buffers=False):
        encoder: PixelEncoder = MODELS.build({**pixel_encoder})
    if own_backbone:
        parts = [(head, [*_head_rules(encoder), *_backbone_rules(encoder, OMG_BACKBONE)], UNUSED)]
    else:
        parts = [
            (head, [*_head_rules(encoder)], UNUSED),
            (TorchFile(clip), [*_backbone_rules(encoder, CLIP_BACKBONE)], UNUSED | NOT_OF_IMAGES),
        ]
    unused: dict[str, str] = {}
    for file, expected, reasons in parts:
        unused |= check_rules(expected, file.infos, str(file.path), reasons)
    source = _Files([file for file, _, _ in parts])
    rules = [rule for _, expected, _ in parts for rule in expected]
    write_shards(rules, source, out, shard_bytes=float("inf"))
    return unused


def _head_rules(encoder: PixelEncoder) -> Iterator[TensorRule]:
    for name, tensor in encoder.segmenter.state_dict().items():
        if not name.startswith("loss_"):
            yield TensorRule(HEAD + name.removeprefix(CLASSIFIER), tuple(tensor.shape), (f"segmenter.{name}",))


def _backbone_rules(encoder: PixelEncoder, prefix: str) -> Iterator[TensorRule]:
    """timm flattens the first level of names (``stages_1.``); OMG-Seg has ``layer2.`` and CLIP ``stages.1.``."""
    for name, tensor in encoder.backbone.state_dict().items():
        part, index, rest = re.fullmatch(r"(stem|stages)_(\d+)\.(.*)", name).groups()
        stage = f"layer{int(index) + 1}" if part == "stages" and prefix == OMG_BACKBONE else f"{part}.{index}"
        yield TensorRule(f"{prefix}{stage}.{rest}", tuple(tensor.shape), (f"backbone.{name}",))


class _Files:
    """Several files as one source."""

    def __init__(self, files: Sequence[TorchFile]) -> None:
        self.infos: dict[str, TensorInfo] = {}
        self._files: dict[str, TorchFile] = {}
        for file in files:
            self.infos |= file.infos
            self._files |= dict.fromkeys(file.infos, file)
        self.origin = "".join(file.origin for file in files)

    def read(self, name: str) -> Tensor:
        """One tensor."""
        return self._files[name].read(name)
