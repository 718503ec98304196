"""A LISA of two million parameters for images of 96 pixels, over the LLM and semantic encoder of the tiny LIRA."""

# Ours come first: importing them is what makes mmdet importable without compiled operators.
from lira_plugin.models import InterleavedLLM

# isort: split
from lisa_ilvc import LISA, SamDecoder
from mmdet.models import CrossEntropyLoss, DiceLoss
from mmengine.config import read_base
from transformers import SamConfig, SamModel

with read_base():
    from lira_plugin.configs.lira_tiny._base_.tiny_model import *

    from .own_code import *

sam_channels = 64
sam_grid = dict(hidden_size=sam_channels, image_size=96, patch_size=8)
sam_config = dict(
    type=SamConfig,
    initializer_range=0.1,
    vision_config=dict(
        **sam_grid,
        output_channels=sam_channels,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_dim=2 * sam_channels,
        num_pos_feats=sam_channels // 2,
        window_size=0,
        global_attn_indexes=[],
    ),
    prompt_encoder_config=dict(**sam_grid),
    mask_decoder_config=dict(
        hidden_size=sam_channels, mlp_dim=2 * sam_channels, num_attention_heads=4, iou_head_hidden_dim=sam_channels
    ),
)
model = dict(
    type=LISA,
    tokenizer=tokenizer,
    special_tokens=special_tokens,
    semantic_encoder=semantic_encoder,
    sam=dict(type=SamDecoder, hidden_size=hidden_size, position_scale=1.0, sam=dict(type=SamModel, config=sam_config)),
    llm=dict(type=InterleavedLLM, llm=model.llm.llm, chat_template=model.llm.chat_template),
    loss_mask=dict(type=CrossEntropyLoss, use_sigmoid=True, loss_weight=2.0),
    loss_dice=dict(type=DiceLoss, use_sigmoid=True, activate=True, naive_dice=True, eps=1.0, loss_weight=2.0),
    num_points=512,
    init_from=[
        semantic_weights | dict(may_lack=["sam", "llm"]),
        dict(
            path=f"{root}/pretrain",
            may_lack=["semantic_encoder", "sam"],
            ignore=["sefe", "mask_decoder", "pixel_encoder"],
            made_by="lira train lira_tiny_pretrain",
        ),
    ],
    generation=dict(ilvc=True, max_new_tokens=32),
)
