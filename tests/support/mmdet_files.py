"""mmdet's own config files, which its wheel carries, and small twins of their models."""

from pathlib import Path

import mmdet
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope

import lira_plugin  # noqa: F401  (first, for mmdet without compiled mmcv)
from support.paths import config_path

PUBLISHED = {
    "swin_t": "swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic",
    "swin_s": "swin-s-p4-w7-224_8xb2-lsj-50e_coco-panoptic",
    "swin_b": "swin-b-p4-w12-384-in21k_8xb2-lsj-50e_coco-panoptic",
    "swin_l": "swin-l-p4-w12-384-in21k_16xb1-lsj-100e_coco-panoptic",
    "r50": "r50_8xb2-lsj-50e_coco-panoptic",
    "r101": "r101_8xb2-lsj-50e_coco-panoptic",
}
"""The published files by the names that our recipes have for them."""


def mask2former_config(name: str) -> ConfigDict:
    """The model of a published Mask2Former, such as ``swin-t-p4-w7-224_8xb2-lsj-50e_coco-panoptic``."""
    folder = Path(mmdet.__file__).parent / ".mim" / "configs" / "mask2former"
    return Config.fromfile(folder / f"mask2former_{name}.py").model


def narrow(head: ConfigDict, dims: int = 16, layers: int = 1) -> ConfigDict:
    """A head of the same layout with few channels, one encoder layer and ``layers`` decoder layers."""
    head.update(feat_channels=dims, out_channels=dims)
    decoder, encoder = head.transformer_decoder, head.pixel_decoder.encoder
    decoder.num_layers, encoder.num_layers = layers, 1
    head.pixel_decoder.norm_cfg.num_groups = 4
    for layer in (decoder.layer_cfg, encoder.layer_cfg):
        for name, part in layer.items():
            part.update(embed_dims=dims, **({"feedforward_channels": 2 * dims} if name == "ffn_cfg" else {}))
    for part in (head, head.pixel_decoder):
        part.positional_encoding.num_feats = dims // 2
    return head


def pixel_encoder_of(name: str) -> ConfigDict:
    """The pixel encoder of the recipe with one of the published files."""
    return Config.fromfile(config_path(f"lira_2b_{name}")).model.pixel_encoder


def detector(model: ConfigDict) -> torch.nn.Module:
    """mmdet's own model."""
    import mmdet.models  # noqa: F401

    with DefaultScope.overwrite_default_scope("mmdet"):
        from mmdet.registry import MODELS

        return MODELS.build(model)


def mask2former_twin(name: str, path: Path) -> tuple[torch.nn.Module, ConfigDict]:
    """A published model and our recipe of it, both with few channels and blocks.

    Args:
        name: in :data:`PUBLISHED`.
        path: file to write random weights to as mmdet publishes them: a state dict, and what it says of itself.

    Returns:
        mmdet's model with these weights, and the config of our pixel encoder.
    """
    theirs, ours = mask2former_config(PUBLISHED[name]), pixel_encoder_of(name)
    if name.startswith("swin"):
        small = {"embed_dims": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}
    else:
        small = {"depth": 18, "base_channels": 8, "stem_channels": 8}
    for part in (theirs, ours):
        part.backbone.update(small, init_cfg=None)
    for head in (theirs.panoptic_head, ours.segmenter):
        narrow(head).in_channels = [8, 16, 32, 64]
    torch.manual_seed(0)
    twin = detector(theirs).eval()
    for tensor in twin.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn_like(tensor).abs() * 0.1)
    meta = {"epoch": 50, "config": "model = dict()", "dataset_meta": {"CLASSES": ("person",), "PALETTE": [(1, 2, 3)]}}
    torch.save({"meta": meta, "state_dict": twin.state_dict()}, path)
    return twin, ours
