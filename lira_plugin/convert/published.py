"""Sizes of the published models, as their ``config.json`` has them: enough to count parameters before anything is downloaded."""

from typing import Any

_INTERNVIT_300M = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 448,
    "patch_size": 14,
}


def _internvl2(**llm: int) -> dict[str, Any]:
    common = {
        "architectures": ["InternLM2ForCausalLM"],
        "num_key_value_heads": 8,
        "vocab_size": 92553,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000000,
        "rope_scaling": {"type": "dynamic", "factor": 2.0},
    }
    return {
        "model_type": "internvl_chat",
        "downsample_ratio": 0.5,
        "vision_config": _INTERNVIT_300M,
        "llm_config": common | llm,
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
    "InternVL2-2B": _internvl2(hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_attention_heads=16),
    "InternVL2-8B": _internvl2(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32),
    "Qwen2-VL-2B": _QWEN2_VL_2B,
}
TOKENIZER_SIZES = {"Qwen2-VL-2B": 151657}
"""Of published models whose embedding has more rows than the tokenizer has tokens."""
