"""Qwen2-VL-2B with mmdet's published Swin-T Mask2Former, whose decoder is copied and trained."""

from lira_plugin.convert import qwen2_tokenizer
from lira_plugin.models import InterleavedLLM, MaskDecoder

# isort: split
from mmengine.config import read_base
from qwen_mask2former import QwenGrounder
from transformers import Qwen2VLForConditionalGeneration

with read_base():
    from lira_plugin.configs.lira._base_.models.lira_internvl2 import *
    from lira_plugin.configs.lira._base_.models.mask2former_mmdet import *

    from .own_code import *

hidden_size = 1536
model.pixel_encoder.pop("backbone")
model.merge(mask2former.swin_t)
model = dict(
    type=QwenGrounder,
    tokenizer=dict(type=qwen2_tokenizer, **qwen2_vl_2b),
    special_tokens=dict(seg="<seg>", image_id="<image_id>", phrase_start="<p>", phrase_end="</p>"),
    llm=dict(
        type=InterleavedLLM,
        llm=dict(
            type=Qwen2VLForConditionalGeneration.from_pretrained,
            pretrained_model_name_or_path=qwen2_vl_2b.path,
            local_files_only=True,
        ),
        chat_template="qwen_chat",
        gradient_checkpointing=True,
        lora=dict(
            r=64,
            lora_alpha=128,
            lora_dropout=0.05,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
            train_embeddings=True,
        ),
    ),
    pixel_encoder=model.pixel_encoder,
    mask_decoder=dict(type=MaskDecoder, hidden_size=hidden_size, decoder="own"),
    tile_size=672,  # 576 tokens
    frozen=["pixel_encoder"],  # and all of Qwen2-VL that LoRA does not adapt
    init_from=[dict(mask2former_weights.swin_t, prefix="pixel_encoder.")],
    generation=dict(max_new_tokens=100),
)
