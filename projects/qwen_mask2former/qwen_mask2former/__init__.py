"""Qwen2-VL whose ``<seg>`` states a Mask2Former decodes to masks."""

from qwen_mask2former.qwen_grounder import QwenGrounder

__all__ = ["QwenGrounder"]
