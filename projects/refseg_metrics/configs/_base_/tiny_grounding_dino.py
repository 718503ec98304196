"""A Grounding DINO of two million parameters for images of 96 pixels, over the backbone of the tiny LIRA's segmenter."""

# Ours come first: importing them is what makes mmdet importable without compiled operators.
from lira_plugin.models import PixelEncoder  # noqa: F401

# isort: split
from mmdet.models import ChannelMapper, DetDataPreprocessor, FocalLoss, GIoULoss, GroundingDINOHead, L1Loss
from mmdet.models.task_modules import BBoxL1Cost, BinaryFocalLossCost, HungarianAssigner, IoUCost
from mmengine.config import read_base
from refseg_metrics import BoxMaskGroundingDINO, NewBertModel

with read_base():
    from lira_plugin.configs.lira_tiny._base_.tiny_model import *

    from .own_code import *

dims = 64
num_levels = 2
attention = dict(embed_dims=dims, num_heads=4, dropout=0.0)
ffn = dict(embed_dims=dims, feedforward_channels=2 * dims, ffn_drop=0.0)
model = dict(
    type=BoxMaskGroundingDINO,
    num_queries=12,
    with_box_refine=True,
    as_two_stage=True,
    num_feature_levels=num_levels,
    data_preprocessor=dict(
        type=DetDataPreprocessor,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=16,
    ),
    language_model=dict(
        type=NewBertModel,
        tokenizer=f"{data_root}/tokenizer",
        config=dict(
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=128,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        max_tokens=64,
        pad_to_max=False,
        use_sub_sentence_represent=True,
        special_tokens_list=["[CLS]", "[SEP]", ".", "?"],
    ),
    backbone=pixel_encoder.backbone | dict(out_indices=(2, 4)),  # of strides 8 and 16
    neck=dict(
        type=ChannelMapper,
        in_channels=[channels[1], channels[3]],
        kernel_size=1,
        out_channels=dims,
        act_cfg=None,
        bias=True,
        norm_cfg=dict(type="GN", num_groups=16),
        num_outs=num_levels,
    ),
    encoder=dict(
        num_layers=2,
        layer_cfg=dict(
            self_attn_cfg=dict(embed_dims=dims, num_heads=4, num_levels=num_levels, dropout=0.0), ffn_cfg=ffn
        ),
        text_layer_cfg=dict(self_attn_cfg=attention, ffn_cfg=ffn),
        fusion_layer_cfg=dict(v_dim=dims, l_dim=dims, embed_dim=2 * dims, num_heads=4, init_values=0.1),
    ),
    decoder=dict(
        num_layers=2,
        return_intermediate=True,
        layer_cfg=dict(
            self_attn_cfg=attention,
            cross_attn_text_cfg=attention,
            cross_attn_cfg=dict(embed_dims=dims, num_heads=4, num_levels=num_levels, dropout=0.0),
            ffn_cfg=ffn,
        ),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(num_feats=dims // 2, normalize=True, offset=0.0, temperature=20),
    bbox_head=dict(
        type=GroundingDINOHead,
        embed_dims=dims,
        num_classes=8,  # most phrases of an image, for the noise of denoising queries
        sync_cls_avg_factor=True,
        contrastive_cfg=dict(max_text_len=64, log_scale="auto", bias=True),
        loss_cls=dict(type=FocalLoss, use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type=L1Loss, loss_weight=5.0),
        loss_iou=dict(type=GIoULoss, loss_weight=2.0),
    ),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=8),
    ),
    train_cfg=dict(
        assigner=dict(
            type=HungarianAssigner,
            match_costs=[
                dict(type=BinaryFocalLossCost, weight=2.0),
                dict(type=BBoxL1Cost, weight=5.0, box_format="xywh"),
                dict(type=IoUCost, iou_mode="giou", weight=2.0),
            ],
        )
    ),
    test_cfg=dict(max_per_img=12),
    backbone_from=dict(path=f"{root}/segmenter", ignore=["segmenter"], made_by="lira train lira_tiny_segmenter"),
)
