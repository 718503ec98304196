"""A LISA over InternVL2-2B, with SAM's ViT-H."""

from lira_plugin.convert import llm_from_published, semantic_encoder_from_published, tokenizer_from_published
from lira_plugin.models import InterleavedLLM

# isort: split
from lisa_ilvc import LISA, SamDecoder
from mmdet.models import CrossEntropyLoss, DiceLoss
from mmengine.config import read_base
from transformers import SamModel

with read_base():
    from lira_plugin.configs.lira._base_.paths import *

    from .own_code import *

model = dict(
    type=LISA,
    tokenizer=dict(type=tokenizer_from_published, **internvl2_2b),
    special_tokens=dict(seg="[SEG]", image_id="<image_id>", phrase_start="<p>", phrase_end="</p>"),
    semantic_encoder=dict(type=semantic_encoder_from_published, published="InternVL2-2B", **internvl2_2b),
    sam=dict(
        type=SamDecoder,
        hidden_size=2048,
        sam=dict(
            type=SamModel.from_pretrained,
            pretrained_model_name_or_path=f"{weights_root}/sam-vit-huge",
            local_files_only=True,
        ),
    ),
    llm=dict(
        type=InterleavedLLM,
        llm=dict(type=llm_from_published, published="InternVL2-2B", **internvl2_2b),
        chat_template="internvl2_chat",
        gradient_checkpointing=True,
        lora=dict(
            r=8, lora_alpha=16, lora_dropout=0.05, target_modules=["q_proj", "v_proj"], train_embeddings=True
        ),  # LISA's
    ),
    loss_mask=dict(type=CrossEntropyLoss, use_sigmoid=True, loss_weight=2.0),
    loss_dice=dict(type=DiceLoss, use_sigmoid=True, activate=True, naive_dice=True, eps=1.0, loss_weight=0.5),
    frozen=["semantic_encoder", "sam.sam.vision_encoder", "sam.sam.prompt_encoder"],
    generation=dict(ilvc=True, max_new_tokens=100, batch_size=8),
)
