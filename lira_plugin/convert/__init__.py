"""Published checkpoints in: strict, without remote code, safetensors out."""

from lira_plugin.convert.fast_tokenizer import internlm2_tokenizer
from lira_plugin.convert.internvl import convert_internvl, llama_from_internvl, semantic_encoder_from_internvl
from lira_plugin.convert.lira import convert_lira
from lira_plugin.convert.omg_seg import convert_omg_seg
from lira_plugin.convert.qwen2_vl import (
    convert_qwen2_vl,
    qwen2_from_qwen2_vl,
    qwen2_tokenizer,
    semantic_encoder_from_qwen2_vl,
)

__all__ = [
    "convert_internvl",
    "convert_lira",
    "convert_omg_seg",
    "convert_qwen2_vl",
    "internlm2_tokenizer",
    "llama_from_internvl",
    "qwen2_from_qwen2_vl",
    "qwen2_tokenizer",
    "semantic_encoder_from_internvl",
    "semantic_encoder_from_qwen2_vl",
]
