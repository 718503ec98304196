"""The tiny LIRA with LoRA on the LLM of the pretrain stage, whose embedding and head are trained in full as in the paper."""

from mmengine.config import read_base

with read_base():
    from .lira_tiny import *

work_dir = f"{root}/lira_lora"
model.llm.update(
    lora=dict(
        r=16,
        lora_alpha=32,
        lora_dropout=0.05,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        train_embeddings=True,
    )
)
