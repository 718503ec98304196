"""The pixel encoder of the paper: OMG-Seg with CLIP's ConvNeXt-L, for images of 1024 pixels."""

# Ours come first: importing them is what makes mmdet importable without compiled operators.
from lira_plugin.models import Mask2FormerSegmenter, OpenVocabularyClassifier, PixelEncoder

# isort: split
import timm
from mmdet.models import CrossEntropyLoss, DiceLoss, MSDeformAttnPixelDecoder
from mmengine.config import read_base

with read_base():
    from ..paths import *

channels = [192, 384, 768, 1536]  # of the backbone, strides 4, 8, 16, 32
unshuffle = 2  # a pixel token is a cell of 64 pixels
dims = 256  # of the segmenter
num_things, num_stuff = 80, 53  # COCO panoptic
attention = dict(embed_dims=dims, num_heads=8, dropout=0.0, batch_first=True)
relu = dict(type="ReLU", inplace=True)
positions = dict(num_feats=dims // 2, normalize=True)

pixel_encoder = dict(
    type=PixelEncoder,
    backbone=dict(type=timm.create_model, model_name="convnext_large", features_only=True, out_indices=(0, 1, 2, 3)),
    image_size=1024,
    unshuffle=unshuffle,
    segmenter=dict(
        type=Mask2FormerSegmenter,
        in_channels=channels,
        feat_channels=dims,
        out_channels=dims,
        num_things_classes=num_things,
        num_stuff_classes=num_stuff,
        num_queries=300,
        classifier=dict(
            type=OpenVocabularyClassifier,
            class_embeddings=dict(**class_embeddings, num_classes=num_things + num_stuff, channels=768),
        ),
        video_positions=True,
        pixel_decoder=dict(
            type=MSDeformAttnPixelDecoder,
            strides=[4, 8, 16, 32],
            num_outs=3,
            norm_cfg=dict(type="GN", num_groups=32),
            act_cfg=dict(type="ReLU"),
            encoder=dict(
                num_layers=6,
                layer_cfg=dict(
                    self_attn_cfg=dict(attention, num_levels=3, num_points=4),
                    ffn_cfg=dict(embed_dims=dims, feedforward_channels=4 * dims, num_fcs=2, ffn_drop=0.0, act_cfg=relu),
                ),
            ),
            positional_encoding=positions,
        ),
        positional_encoding=positions,
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=9,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(embed_dims=dims, feedforward_channels=8 * dims, num_fcs=2, ffn_drop=0.0, act_cfg=relu),
            ),
            init_cfg=None,
        ),
        loss_cls=dict(
            type=CrossEntropyLoss,
            use_sigmoid=False,
            loss_weight=2.0,
            class_weight=[1.0] * (num_things + num_stuff) + [0.1],
        ),
        loss_mask=dict(type=CrossEntropyLoss, use_sigmoid=True, loss_weight=5.0),
        loss_dice=dict(type=DiceLoss, use_sigmoid=True, activate=True, naive_dice=True, eps=1.0, loss_weight=5.0),
    ),
)
