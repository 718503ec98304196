"""Pixel encoders of mmdet's published COCO panoptic Mask2Former files; leaves merge one into a model without a backbone.

For a file of COCO instances, a leaf sets ``num_stuff_classes=0`` in the segmenter and 81 class weights in its ``loss_cls``.
"""

# Ours come first: importing them is what makes mmdet importable without compiled operators.
from lira_plugin.models import PixelEncoder

# isort: split
from mmdet.models import ResNet, SwinTransformer
from mmengine.config import read_base

with read_base():
    from ..paths import *

swin = dict(type=SwinTransformer, window_size=7, drop_path_rate=0.3)
swin_384 = dict(swin, window_size=12, pretrain_img_size=384)
resnet = dict(type=ResNet, norm_cfg=dict(type="BN", requires_grad=False), norm_eval=True, style="pytorch")

# Each with the channels of its last map.
backbones = dict(
    swin_t=(dict(swin, embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)), 768),
    swin_s=(dict(swin, embed_dims=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)), 768),
    swin_b=(dict(swin_384, embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)), 1024),
    swin_l=(dict(swin_384, embed_dims=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)), 1536),
    r50=(dict(resnet, depth=50), 2048),
    r101=(dict(resnet, depth=101), 2048),
)
# What each of them changes in the model. A pixel token is made of 2 x 2 cells of the last map; a query has 256 channels.
mask2former = {
    name: dict(
        pixel_encoder=dict(
            type=PixelEncoder,
            backbone=backbone,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            segmenter=dict(
                in_channels=[last // 8, last // 4, last // 2, last],
                num_queries=200 if name == "swin_l" else 100,
                classifier=None,
                video_positions=False,
            ),
        ),
        sefe=dict(pixel_channels=4 * last + 2 * 256, query_channels=4 * last),
    )
    for name, (backbone, last) in backbones.items()
}
mask2former_weights = {
    name: dict(
        path=f"{weights_root}/mask2former_{name}/model.safetensors",
        made_by="python tools/convert_checkpoint.py mmdet MASK2FORMER.PTH "
        f"{weights_root}/mask2former_{name} --backbone {name}\ndocs/weights.md says where the published files are",
    )
    for name in backbones
}
