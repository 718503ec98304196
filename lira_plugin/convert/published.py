"""Sizes of the published models, as their ``config.json`` has them: enough to count parameters before anything is downloaded.

Of Qwen2.5-VL, Qwen3-VL and InternVL3.5 the sums are those that Hugging Face shows of the published files: 3,754,622,976 and
8,292,166,656 for Qwen2.5-VL-3B and -7B, 2,127,532,032 and 4,437,815,808 for Qwen3-VL-2B and -4B, 1,060,897,792 and 8,528,318,464
for InternVL3.5-1B and -8B.
"""

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
_QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
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


def _qwen2_5_vl(*sizes: int, **others: Any) -> dict[str, Any]:
    """Of width, feed-forward width, layers, heads and key heads of the LLM, which the vision tower is equal for."""
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": sizes[0]}
    vision |= {"patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112}
    return {
        "model_type": "qwen2_5_vl",
        "vision_config": vision | {"fullatt_block_indexes": [7, 15, 23, 31]},
        "max_position_embeddings": 128000,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        **dict(zip(names, sizes, strict=True)),
        **others,
    }


def _qwen3_vl(*sizes: int) -> dict[str, Any]:
    """Of width, feed-forward width, layers and heads of the LLM; head and embedding are one."""
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    vision = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "out_hidden_size": sizes[0]}
    vision |= {"patch_size": 16, "spatial_merge_size": 2, "temporal_patch_size": 2, "num_position_embeddings": 2304}
    llm = {"rope_theta": 5000000.0, "max_position_embeddings": 262144, "tie_word_embeddings": True}
    rope = {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [24, 20, 20]}
    return {
        "model_type": "qwen3_vl",
        "tie_word_embeddings": True,
        "vision_config": vision | {"deepstack_visual_indexes": [5, 11, 17]},
        "text_config": {
            **{name: value for name, value in _QWEN3.items() if name != "architectures"},
            **dict(zip(names, sizes, strict=True)),
            **llm,
            "rope_scaling": rope,
            "bos_token_id": 151643,
            "eos_token_id": 151645,
        },
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
    "InternVL3_5-1B": _internvl("internvl2_5", _QWEN3, 1024, 3072, 28, 16),
    "InternVL3_5-2B": _internvl("internvl2_5", _QWEN3, 2048, 6144, 28, 16),
    "InternVL3_5-4B": _internvl("internvl2_5", _QWEN3, 2560, 9728, 36, 32),
    "InternVL3_5-8B": _internvl("internvl2_5", _QWEN3, 4096, 12288, 36, 32),
    "Qwen2-VL-2B": _QWEN2_VL_2B,
    "Qwen2_5-VL-3B": _qwen2_5_vl(2048, 11008, 36, 16, 2, vocab_size=151936, tie_word_embeddings=True),
    "Qwen2_5-VL-7B": _qwen2_5_vl(3584, 18944, 28, 28, 4, vocab_size=152064, tie_word_embeddings=False),
    "Qwen3-VL-2B": _qwen3_vl(2048, 6144, 28, 16),
    "Qwen3-VL-4B": _qwen3_vl(2560, 9728, 36, 32),
}
TOKENIZER_SIZES = {
    **dict.fromkeys([f"InternVL3_5-{size}B" for size in (1, 2, 4, 8)], 151678),
    "Qwen2-VL-2B": 151657,
    "Qwen2_5-VL-3B": 151665,
    "Qwen2_5-VL-7B": 151665,
    "Qwen3-VL-2B": 151669,
    "Qwen3-VL-4B": 151669,
}
"""Of published models whose embedding has more rows than the tokenizer has tokens.

Their tokenizers have 151,643 pieces of text and then what ``added_tokens_decoder`` of ``tokenizer_config.json`` lists. Qwen2-VL
lists 14 tokens up to ``<|video_pad|>`` (151656), Qwen2.5-VL 22 up to ``<|file_sep|>`` (151664), Qwen3 and Qwen3-VL 26 up to
``</think>`` (151668). InternVL3.5 appends InternVL's nine, from ``<img>`` to ``</box>``, to Qwen3's: ``image_token_id`` of its
``-hf`` folders, 151671, is the third.
"""
