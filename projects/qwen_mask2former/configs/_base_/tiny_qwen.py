"""A Qwen2-VL of a million parameters for images of 96 pixels, over the pixel encoder of the tiny LIRA."""

# Ours come first: importing them is what makes mmdet importable without compiled operators.
from lira_plugin.models import InterleavedLLM, QueryLoss

# isort: split
from mmengine.config import read_base
from qwen_mask2former import QwenGrounder
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

with read_base():
    from lira_plugin.configs.lira_tiny._base_.tiny_model import *

    from .own_code import *

qwen_config = dict(
    type=Qwen2VLConfig,
    vocab_size=700,
    hidden_size=hidden_size,
    intermediate_size=2 * hidden_size,
    num_hidden_layers=4,
    num_attention_heads=1,  # wide heads, and slow rotary positions: see the tiny LIRA's LLM
    num_key_value_heads=1,
    max_position_embeddings=2048,
    rope_theta=1e6,
    rope_scaling=dict(rope_type="default", mrope_section=[16, 24, 24]),
    initializer_range=0.07,
    tie_word_embeddings=False,
    vision_config=dict(
        depth=2, embed_dim=96, num_heads=3, mlp_ratio=2, patch_size=12, hidden_size=hidden_size, temporal_patch_size=2
    ),
)
model = dict(
    type=QwenGrounder,
    tokenizer=tokenizer,
    special_tokens=special_tokens,
    llm=dict(
        type=InterleavedLLM,
        llm=dict(type=Qwen2VLForConditionalGeneration, config=qwen_config),
        chat_template=model.llm.chat_template,
    ),
    pixel_encoder=pixel_encoder,
    mask_decoder=model.mask_decoder,
    tile_size=image_size,
    extra_losses=[dict(type=QueryLoss, weight=10.0)],
    frozen=["pixel_encoder"],
    init_from=[segmenter_weights],
    generation=dict(max_new_tokens=24),
)
