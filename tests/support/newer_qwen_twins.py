"""Small random Qwen2.5-VL and Qwen3-VL folders, as transformers' own models are published; shared by tests.

They need transformers >= 4.57, which has the models.
"""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

from support import qwen2_vl_twin

LLM = {
    "vocab_size": 448,  # more than the tokenizer has, as published
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "bos_token_id": 300,
    "eos_token_id": 302,
    "hidden_act": "silu",
}
IDS = {"vision_start_token_id": 303, "vision_end_token_id": 304, "image_token_id": 305, "video_token_id": 306}
VISION = {
    "depth": 4,
    "hidden_size": 32,
    "intermediate_size": 44,
    "num_heads": 2,
    "out_hidden_size": 32,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {
        **LLM,
        **IDS,
        "use_sliding_window": False,
        "rope_theta": 1000000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
        "vision_config": {
            **VISION,
            "hidden_act": "silu",
            "in_chans": 3,
            "patch_size": 14,
            "spatial_patch_size": 14,
            "window_size": 56,  # 2 x 2 tokens
            "fullatt_block_indexes": [1, 3],
            "tokens_per_second": 2,
        },
    },
    "qwen3_vl": {
        **IDS,
        "text_config": {
            **LLM,
            "model_type": "qwen3_vl_text",
            "head_dim": 16,
            "attention_bias": False,
            "rope_theta": 5000000.0,
            "rope_scaling": {"rope_type": "default", "mrope_interleaved": True, "mrope_section": [4, 2, 2]},
        },
        "vision_config": {
            **VISION,
            "model_type": "qwen3_vl",
            "hidden_act": "gelu_pytorch_tanh",
            "in_channels": 3,
            "patch_size": 16,
            "num_position_embeddings": 36,
            "deepstack_visual_indexes": [0, 2],
        },
    },
}
"""What ``config.json`` says, by ``model_type``."""
TILES = {"qwen2_5_vl": 112, "qwen3_vl": 64}
"""Side of a tile: 4 x 4 tokens in 2 x 2 windows; 2 x 2 tokens."""
CLASSES = {"qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}


def settings(kind: str, tied: bool = True, **others: Any) -> dict[str, Any]:
    """A copy of what ``config.json`` says, with ``others``."""
    said = json.loads(json.dumps({"model_type": kind, **CONFIGS[kind], "tie_word_embeddings": tied, **others}))
    if "text_config" in said:
        said["text_config"]["tie_word_embeddings"] = tied
    return said


def build(kind: str, seed: int = 0, **others: Any) -> Any:
    """Transformers' model, with weights of a scale at which every part matters: norms near one, biases away from zero."""
    config = getattr(transformers, f"{CLASSES[kind]}Config")(**settings(kind, **others))
    model = getattr(transformers, f"{CLASSES[kind]}ForConditionalGeneration")(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            near_one = name.endswith("weight") and parameter.ndim == 1
            parameter.copy_(1 + 0.3 * noise if near_one else 0.3 * noise)
    return model


def write(
    folder: str | Path, kind: str, shard_size: str = "60KB", dtype: torch.dtype = torch.float32, **others: Any
) -> Any:
    """A whole folder, whose configuration says what the published one does; returns the model."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = build(kind, **others)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard_size)
    qwen2_vl_twin.write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps(settings(kind, **others)))
    return model


def cut(kind: str, tiles: torch.Tensor) -> dict[str, torch.Tensor]:
    """What transformers' image processor of the model makes of uint8 tiles."""
    vision, mean = CONFIGS[kind]["vision_config"], {}
    if kind == "qwen3_vl":
        mean = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    sides = {"patch_size": vision["patch_size"], "min_pixels": 1, "max_pixels": 10**9}
    processor = transformers.Qwen2VLImageProcessor(**sides, **mean)
    return processor(images=[tile.permute(1, 2, 0).numpy() for tile in tiles], return_tensors="pt")
