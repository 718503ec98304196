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


PUBLISHED = {
    "InternVL2-2B": _internvl2(hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_attention_heads=16),
    "InternVL2-8B": _internvl2(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32),
}
