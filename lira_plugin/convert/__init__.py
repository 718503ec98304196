"""Published checkpoints in."""

from lira_plugin.convert.fast_tokenizer import internlm2_tokenizer
from lira_plugin.convert.internvl import convert_internvl, llama_from_internvl, semantic_encoder_from_internvl

__all__ = ["convert_internvl", "internlm2_tokenizer", "llama_from_internvl", "semantic_encoder_from_internvl"]
