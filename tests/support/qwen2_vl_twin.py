"""Small random Qwen2-VL folders, as transformers' own model and tokenizer write them; shared by tests."""

import json
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import Qwen2TokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration

TEXTS = (
    "Please segment the man in the red shirt.",
    "a white cat  sits on the table, two dogs run",
    "请在图中分割穿红色衣服的人。",
)
TILE = 56
SIZES = {
    "vocab_size": 448,  # more than the tokenizer has, as published
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
    "tie_word_embeddings": True,
    "bos_token_id": 300,
    "eos_token_id": 302,
    "vision_start_token_id": 303,
    "image_token_id": 305,
    "video_token_id": 306,
    "vision_config": {"depth": 2, "embed_dim": 32, "num_heads": 2, "mlp_ratio": 2, "hidden_size": 32},
}
CHAT_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
VISION_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>")


def as_published(name):
    """The name of a tensor in the files, which newer versions of transformers give another one in the model."""
    return name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")


def build(seed=0, **sizes):
    """The model with weights of a scale at which every part matters: norms near one, biases away from zero."""
    settings = {**SIZES, **sizes}
    settings |= {name: dict(settings[name]) for name in ("rope_scaling", "vision_config")}  # transformers changes them
    model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(**settings)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            near_one = name.endswith("weight") and parameter.ndim == 1
            parameter.copy_(1 + 0.3 * noise if near_one else 0.3 * noise)
    return model


def write_tokenizer(folder, size=300):
    """Qwen2's files: ``vocab.json``, ``merges.txt``, and the added tokens in ``tokenizer_config.json``."""
    folder = Path(folder)
    core = ByteLevelBPETokenizer()
    core.train_from_iterator(TEXTS, vocab_size=size, min_frequency=1, show_progress=False)
    core.save_model(str(folder))
    tokens = [*CHAT_TOKENS, *VISION_TOKENS]
    tokenizer = Qwen2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), pad_token=CHAT_TOKENS[0])
    tokenizer.add_special_tokens({"additional_special_tokens": tokens[1:]})
    tokenizer.eos_token = CHAT_TOKENS[2]
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_qwen2_vl(folder, shard_size="60KB", seed=0, dtype=torch.float32, **sizes):
    """A whole folder, whose configuration says what the published one does; returns the model."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = build(seed, **sizes)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard_size)
    write_tokenizer(folder)
    published = json.loads((folder / "config.json").read_text()) | {**SIZES, **sizes}
    published.pop("text_config", None)  # which newer versions of transformers write
    (folder / "config.json").write_text(json.dumps(published))
    return model
