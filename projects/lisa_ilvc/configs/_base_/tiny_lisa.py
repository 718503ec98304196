"""A LISA of a million parameters for images of 96 pixels."""

# Ours come first: importing them is what makes mmdet importable without compiled operators.
from lira_plugin.models import InterleavedLLM, InternViTEncoder

# isort: split
from lisa_ilvc import LISA, SamDecoder
from mmdet.models import CrossEntropyLoss, DiceLoss
from mmengine.config import read_base
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, SamConfig, SamModel

with read_base():
    from lira_plugin.configs.lira_tiny._base_.tiny_paths import *

    from .own_code import *

hidden_size = 128
channels = 64  # of SAM
sam_grid = dict(hidden_size=channels, image_size=96, patch_size=8)
model = dict(
    type=LISA,
    tokenizer=dict(
        type=AutoTokenizer.from_pretrained,
        pretrained_model_name_or_path=f"{data_root}/tokenizer",
        made_by=f"lira make-scenes {data_root}",
    ),
    special_tokens=dict(seg="<seg>", image_id="<image_id>", phrase_start="<p>", phrase_end="</p>", add_missing=False),
    semantic_encoder=dict(
        type=InternViTEncoder,
        vit="vit_tiny_patch16_224",
        vit_args=dict(img_size=64, patch_size=16, embed_dim=96, depth=2, num_heads=3),
        hidden_size=hidden_size,
    ),
    sam=dict(
        type=SamDecoder,
        hidden_size=hidden_size,
        position_scale=1.0,
        sam=dict(
            type=SamModel,
            config=dict(
                type=SamConfig,
                initializer_range=0.1,
                vision_config=dict(
                    **sam_grid,
                    output_channels=channels,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    mlp_dim=2 * channels,
                    num_pos_feats=channels // 2,
                    window_size=0,
                    global_attn_indexes=[],
                ),
                prompt_encoder_config=dict(**sam_grid),
                mask_decoder_config=dict(
                    hidden_size=channels, mlp_dim=2 * channels, num_attention_heads=4, iou_head_hidden_dim=channels
                ),
            ),
        ),
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
                num_hidden_layers=3,
                num_attention_heads=1,
                max_position_embeddings=2048,
                rope_theta=1e6,
                initializer_range=0.07,
                tie_word_embeddings=False,
            ),
        ),
        chat_template=dict(
            system="", instruction="<|im_start|>user\n{input}<|im_end|><|im_start|>assistant\n", suffix="<|im_end|>"
        ),
    ),
    loss_mask=dict(type=CrossEntropyLoss, use_sigmoid=True, loss_weight=2.0),
    loss_dice=dict(type=DiceLoss, use_sigmoid=True, activate=True, naive_dice=True, eps=1.0, loss_weight=0.5),
    num_points=512,
    generation=dict(ilvc=True, max_new_tokens=32),
)
