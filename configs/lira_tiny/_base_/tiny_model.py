"""A LIRA of a few million parameters with every part of the full one, for images of 96 pixels."""

# Ours come first: importing them is what makes mmdet importable without compiled operators.
from lira_plugin.models import (
    LIRA,
    SEFE,
    AnchorCost,
    AttributeClassifier,
    InterleavedLLM,
    InternViTEncoder,
    MaskDecoder,
    PixelEncoder,
    PromptedSegmenter,
    QueryLoss,
)

# isort: split
import timm
from mmdet.models import CrossEntropyLoss, DiceLoss, MSDeformAttnPixelDecoder
from mmdet.models.task_modules import (
    ClassificationCost,
    CrossEntropyLossCost,
    DiceCost,
    HungarianAssigner,
    MaskPseudoSampler,
)
from mmengine.config import read_base
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

with read_base():
    from .tiny_paths import *

image_size = 96
tile_size = 64
channels = [32, 64, 96, 128]  # of the backbone, strides 4, 8, 16, 16
dims = 64  # of the segmenter
hidden_size = 128  # of the LLM
class_attributes = [6, 8, 2]  # shapes, colours and sizes: a class is one of each
num_classes = 96
attention = dict(embed_dims=dims, num_heads=4, dropout=0.0, batch_first=True)
ffn = dict(
    embed_dims=dims, feedforward_channels=2 * dims, num_fcs=2, ffn_drop=0.0, act_cfg=dict(type="ReLU", inplace=True)
)
positions = dict(num_feats=dims // 2, normalize=True)

special_tokens = dict(seg="<seg>", image_id="<image_id>", phrase_start="<p>", phrase_end="</p>", add_missing=False)
tokenizer = dict(
    type=AutoTokenizer.from_pretrained,
    pretrained_model_name_or_path=f"{data_root}/tokenizer",
    made_by=f"python tools/make_scenes.py {data_root}",
)

pixel_encoder = dict(
    type=PixelEncoder,
    backbone=dict(
        type=timm.create_model,
        model_name="resnet10t",
        features_only=True,
        out_indices=(1, 2, 3, 4),
        channels=channels,
        stem_width=16,
        output_stride=16,  # a pixel token is a cell of 16 pixels; an object that wins no cell has no object token
    ),
    image_size=image_size,
    unshuffle=1,
    segmenter=dict(
        type=PromptedSegmenter,
        in_channels=channels,
        feat_channels=dims,
        out_channels=dims,
        num_things_classes=num_classes,
        num_stuff_classes=0,
        num_queries=25,
        classifier=dict(type=AttributeClassifier, attributes=class_attributes),
        grid_queries=True,
        prompt_loss_weight=0.5,
        prompt_noise=0.2,
        prompt_mixup=1.0,
        pixel_decoder=dict(
            type=MSDeformAttnPixelDecoder,
            strides=[4, 8, 16, 16],
            num_outs=3,
            norm_cfg=dict(type="GN", num_groups=16),
            act_cfg=dict(type="ReLU"),
            encoder=dict(
                num_layers=2,
                layer_cfg=dict(self_attn_cfg=dict(attention, num_levels=3, num_points=4), ffn_cfg=ffn),
            ),
            positional_encoding=positions,
        ),
        positional_encoding=positions,
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=3,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=ffn),
            init_cfg=None,
        ),
        loss_cls=dict(
            type=CrossEntropyLoss,
            use_sigmoid=False,
            loss_weight=4.0,
            class_weight=[1.0] * num_classes + [0.1],
        ),
        loss_mask=dict(type=CrossEntropyLoss, use_sigmoid=True, loss_weight=5.0),
        loss_dice=dict(type=DiceLoss, use_sigmoid=True, activate=True, naive_dice=True, eps=1.0, loss_weight=5.0),
        train_cfg=dict(
            num_points=512,
            oversample_ratio=3.0,
            importance_sample_ratio=0.75,
            assigner=dict(
                type=HungarianAssigner,
                match_costs=[
                    dict(type=ClassificationCost, weight=2.0),
                    dict(type=CrossEntropyLossCost, weight=5.0, use_sigmoid=True),
                    dict(type=DiceCost, weight=5.0, pred_act=True, eps=1.0),
                    dict(type=AnchorCost, weight=3.0),
                ],
            ),
            sampler=dict(type=MaskPseudoSampler),
        ),
    ),
)

semantic_encoder = dict(
    type=InternViTEncoder,
    vit="vit_tiny_patch16_224",
    vit_args=dict(img_size=tile_size, patch_size=16, embed_dim=96, depth=2, num_heads=3),
    hidden_size=hidden_size,
    mean=(0.485, 0.456, 0.406),  # as InternViT; timm's small transformers have learnt others
    std=(0.229, 0.224, 0.225),
)

segmenter_weights = dict(
    path=f"{root}/segmenter",
    prefix="pixel_encoder.",
    made_by="xtuner train configs/lira_tiny/lira_tiny_segmenter.py",
)
semantic_weights = dict(
    path=f"{root}/semantic",
    may_lack=["pixel_encoder", "sefe", "llm", "mask_decoder"],
    ignore=["classifier"],
    made_by="xtuner train configs/lira_tiny/lira_tiny_semantic.py",
)

model = dict(
    type=LIRA,
    tokenizer=tokenizer,
    special_tokens=special_tokens,
    semantic_encoder=semantic_encoder,
    pixel_encoder=pixel_encoder,
    sefe=dict(
        type=SEFE,
        pixel_channels=channels[-1] + 2 * dims,
        object_channels=2 * dims,
        hidden_size=hidden_size,
        query_channels=channels[-1],
        num_heads=4,
        enrich=True,
    ),
    llm=dict(
        type=InterleavedLLM,
        llm=dict(
            type=AutoModelForCausalLM.from_config,
            config=dict(
                type=LlamaConfig,
                vocab_size=700,
                hidden_size=hidden_size,
                intermediate_size=2 * hidden_size,
                num_hidden_layers=4,
                num_attention_heads=1,  # of 128 channels, as InternLM2's: narrow heads are slow to learn lookups
                max_position_embeddings=2048,
                rope_theta=1e6,  # as InternLM2: with 1e4 narrow heads find nothing by content beyond a few tokens
                initializer_range=0.07,
                tie_word_embeddings=False,
            ),
        ),
        chat_template=dict(
            system="", instruction="<|im_start|>user\n{input}<|im_end|><|im_start|>assistant\n", suffix="<|im_end|>"
        ),
    ),
    mask_decoder=dict(type=MaskDecoder, hidden_size=hidden_size, query_channels=dims, num_points=512),
    frozen=["semantic_encoder", "pixel_encoder"],
    init_from=[segmenter_weights, semantic_weights],
    loss_weights=dict(llm=1.0, masks=0.5, projection=10.0),
    extra_losses=[dict(type=QueryLoss, weight=10.0)],
    generation=dict(ilvc=True, max_new_tokens=64),
)
