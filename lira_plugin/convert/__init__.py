"""Published checkpoints in and out: strict and without remote code; and tools for checkpoints of our own."""

from lira_plugin.convert.consolidate import consolidate_zero
from lira_plugin.convert.export_onnx import export_mask_decoder
from lira_plugin.convert.fast_tokenizer import internlm2_tokenizer
from lira_plugin.convert.grow_vocabulary import VocabularyGrowth, grow_checkpoint, grow_llm_folder
from lira_plugin.convert.import_lira import convert_lira, export_lira
from lira_plugin.convert.import_mmdet import convert_mmdet
from lira_plugin.convert.import_omg_seg import convert_omg_seg
from lira_plugin.convert.import_published import (
    convert_published,
    llm_from_published,
    semantic_encoder_from_published,
    template_from_published,
    tokenizer_from_published,
)
from lira_plugin.convert.llm_families import qwen2_tokenizer
from lira_plugin.convert.merge_lora import merge_lora
from lira_plugin.convert.pack_model import pack_model
from lira_plugin.convert.push_folder import push_folder

# Names of one family each, as recipes in work dirs and programs have them.
convert_internvl = convert_qwen2_vl = convert_published
llama_from_internvl = qwen2_from_qwen2_vl = llm_from_published
semantic_encoder_from_internvl = semantic_encoder_from_qwen2_vl = semantic_encoder_from_published

__all__ = [
    "VocabularyGrowth",
    "consolidate_zero",
    "convert_internvl",
    "convert_lira",
    "convert_mmdet",
    "convert_omg_seg",
    "convert_published",
    "convert_qwen2_vl",
    "export_lira",
    "export_mask_decoder",
    "grow_checkpoint",
    "grow_llm_folder",
    "internlm2_tokenizer",
    "llama_from_internvl",
    "llm_from_published",
    "merge_lora",
    "pack_model",
    "push_folder",
    "qwen2_from_qwen2_vl",
    "qwen2_tokenizer",
    "semantic_encoder_from_internvl",
    "semantic_encoder_from_published",
    "semantic_encoder_from_qwen2_vl",
    "template_from_published",
    "tokenizer_from_published",
]
