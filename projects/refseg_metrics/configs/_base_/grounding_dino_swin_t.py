"""mmdet's ``grounding_dino_swin-t_pretrain_obj365_goldg_cap4m.py``, for phrases of sentences."""

# Ours come first: importing them is what makes mmdet importable without compiled operators.
from lira_plugin.models import PixelEncoder  # noqa: F401

# isort: split
from mmdet.models import (
    BertModel,
    ChannelMapper,
    DetDataPreprocessor,
    FocalLoss,
    GIoULoss,
    GroundingDINOHead,
    L1Loss,
    SwinTransformer,
)
from mmdet.models.task_modules import BBoxL1Cost, BinaryFocalLossCost, HungarianAssigner, IoUCost
from mmengine.config import read_base
from refseg_metrics import BoxMaskGroundingDINO

with read_base():
    from lira_plugin.configs.lira._base_.paths import *

    from .own_code import *

dims = 256
attention = dict(embed_dims=dims, num_heads=8, dropout=0.0)
ffn = dict(embed_dims=dims, feedforward_channels=2048, ffn_drop=0.0)
model = dict(
    type=BoxMaskGroundingDINO,
    num_queries=900,
    with_box_refine=True,
    as_two_stage=True,
    data_preprocessor=dict(
        type=DetDataPreprocessor,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    language_model=dict(
        type=BertModel,
        name=f"{weights_root}/bert-base-uncased",
        pad_to_max=False,
        use_sub_sentence_represent=True,
        special_tokens_list=["[CLS]", "[SEP]", ".", "?"],
        add_pooling_layer=True,
    ),
    backbone=dict(
        type=SwinTransformer,
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.2,
        out_indices=(1, 2, 3),
    ),
    neck=dict(
        type=ChannelMapper,
        in_channels=[192, 384, 768],
        kernel_size=1,
        out_channels=dims,
        act_cfg=None,
        bias=True,
        norm_cfg=dict(type="GN", num_groups=32),
        num_outs=4,
    ),
    encoder=dict(
        num_layers=6,
        layer_cfg=dict(self_attn_cfg=dict(embed_dims=dims, num_levels=4, dropout=0.0), ffn_cfg=ffn),
        text_layer_cfg=dict(
            self_attn_cfg=dict(num_heads=4, embed_dims=dims, dropout=0.0), ffn_cfg=ffn | dict(feedforward_channels=1024)
        ),
        fusion_layer_cfg=dict(v_dim=dims, l_dim=dims, embed_dim=1024, num_heads=4, init_values=1e-4),
    ),
    decoder=dict(
        num_layers=6,
        return_intermediate=True,
        layer_cfg=dict(self_attn_cfg=attention, cross_attn_text_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
        post_norm_cfg=None,
    ),
    positional_encoding=dict(num_feats=dims // 2, normalize=True, offset=0.0, temperature=20),
    bbox_head=dict(
        type=GroundingDINOHead,
        num_classes=80,
        sync_cls_avg_factor=True,
        contrastive_cfg=dict(max_text_len=256),
        loss_cls=dict(type=FocalLoss, use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type=L1Loss, loss_weight=5.0),
        loss_iou=dict(type=GIoULoss, loss_weight=2.0),
    ),
    dn_cfg=dict(
        label_noise_scale=0.5,
        box_noise_scale=1.0,
        group_cfg=dict(dynamic=True, num_groups=None, num_dn_queries=100),
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
    test_cfg=dict(max_per_img=300),
)
