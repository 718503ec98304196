"""Sizes of the published models, as their ``config.json`` has them: enough to count parameters before anything is downloaded."""

from typing import Any

_INTERNVIT_300M = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 448,
    "patch_size": 14,
    "norm_type": "layer_norm",
    "qkv_bias": True,
    "qk_normalization": False,
}


_INTERNLM2 = {
    "architectures": ["InternLM2ForCausalLM"],
    "num_key_value_heads": 8,
    "vocab_size": 92553,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000000,
    "rope_scaling": {"type": "dynamic", "factor": 2.0},
}
_QWEN2_5 = {
    "architectures": ["Qwen2ForCausalLM"],
    "num_key_value_heads": 2,
    "vocab_size": 151674,  # the tokens of Qwen2.5 and nine of InternVL; none to spare
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "rope_scaling": {"type": "dynamic", "factor": 2.0},
    "tie_word_embeddings": False,
}


def _internvl(template: str, llm: dict[str, Any], *sizes: int, **others: int) -> dict[str, Any]:
    """Of width, feed-forward width, layers and heads of the LLM."""
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return {
        "model_type": "internvl_chat",
        "template": template,
        "downsample_ratio": 0.5,
        "vision_config": _INTERNVIT_300M,
        "llm_config": llm | dict(zip(names, sizes, strict=True)) | others,
    }


_QWEN2_VL_2B = {
    "model_type": "qwen2_vl",
    "vision_config": {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4, "hidden_size": 1536},
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
    "tie_word_embeddings": True,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
}

PUBLISHED = {
    "InternVL2-2B": _internvl("internlm2-chat", _INTERNLM2, 2048, 8192, 24, 16),
    "InternVL2-8B": _internvl("internlm2-chat", _INTERNLM2, 4096, 14336, 32, 32),
    "InternVL2_5-1B": _internvl("internvl2_5", _QWEN2_5, 896, 4864, 24, 14),
    "InternVL2_5-2B": _internvl("internvl2_5", _INTERNLM2, 2048, 8192, 24, 16),
    "InternVL2_5-4B": _internvl("internvl2_5", _QWEN2_5, 2048, 11008, 36, 16),
    "InternVL2_5-8B": _internvl("internvl2_5", _INTERNLM2, 4096, 14336, 32, 32),
    "InternVL3-1B": _internvl("internvl2_5", _QWEN2_5, 896, 4864, 24, 14),
    "InternVL3-2B": _internvl("internvl2_5", _QWEN2_5, 1536, 8960, 28, 12),
    "InternVL3-8B": _internvl("internvl2_5", _QWEN2_5, 3584, 18944, 28, 28, num_key_value_heads=4),
    "Qwen2-VL-2B": _QWEN2_VL_2B,
}
TOKENIZER_SIZES = {"Qwen2-VL-2B": 151657}
"""Of published models whose embedding has more rows than the tokenizer has tokens."""
