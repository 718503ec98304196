"""mmdet's own config files, which its wheel carries, and small twins of their models."""

from pathlib import Path

import mmdet
from mmengine.config import Config, ConfigDict

import lira_plugin  # noqa: F401  (first, for mmdet without compiled mmcv)


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
