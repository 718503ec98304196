"""Published checkpoints in."""

from lira_plugin.convert.fast_tokenizer import internlm2_tokenizer

__all__ = ["internlm2_tokenizer"]
