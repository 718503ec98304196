"""LLaVA-1.5-7B as xtuner builds it, with SEFE over the InternViT of InternVL2-8B, whose projection has the LLM's width."""

from lira_plugin.convert import semantic_encoder_from_internvl
from lira_plugin.models import SEFE

# isort: split
import torch
from llava_sefe import SEFELLaVA
from mmengine.config import read_base
from peft import LoraConfig
from transformers import AutoModelForCausalLM, CLIPVisionModel

with read_base():
    from lira_plugin.configs.lira._base_.paths import *

    from .own_code import *

model = dict(
    type=SEFELLaVA,
    llm=dict(
        type=AutoModelForCausalLM.from_pretrained,
        pretrained_model_name_or_path=f"{weights_root}/vicuna-7b-v1.5",
        torch_dtype=torch.bfloat16,
    ),
    llm_lora=dict(type=LoraConfig, r=128, lora_alpha=256, lora_dropout=0.05, bias="none", task_type="CAUSAL_LM"),
    freeze_llm=True,
    visual_encoder=dict(
        type=CLIPVisionModel.from_pretrained,
        pretrained_model_name_or_path=f"{weights_root}/clip-vit-large-patch14-336",
    ),
    freeze_visual_encoder=True,
    pretrained_pth=f"{weights_root}/llava_vicuna_7b_pretrain/iter_2181.pth",  # xtuner's projector
    semantic_encoder=dict(type=semantic_encoder_from_internvl, published="InternVL2-8B", **internvl2_8b),
    freeze_semantic_encoder=True,
    sefe=dict(
        type=SEFE,
        pixel_channels=None,
        object_channels=None,
        hidden_size=4096,
        num_heads=32,
        separators=False,
    ),
)
