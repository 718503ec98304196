"""Small random InternVL2 folders in exactly the published layout; shared by tests."""

import io
import json
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file

PUBLISHED_2B = {
    "vision": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
    "image": {"image_size": 448, "patch_size": 14},
    "llm": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "vocab_size": 92553,
        "max_position_embeddings": 32768,
    },
}
TINY = {
    "vision": {"hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2},
    "image": {"image_size": 56, "patch_size": 14},
    "llm": {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 429,
        "max_position_embeddings": 64,
    },
}
CHAT_TOKENS = ("<|im_end|>", "<|im_start|>")
"""They take over the ids of two reserved pieces."""
ADDED_TOKENS = ("<img>", "</img>", "<IMG_CONTEXT>", "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>")
"""They follow the pieces."""
RESERVED = ("[UNUSED_TOKEN_0]", "[UNUSED_TOKEN_1]")
TEXTS = (
    "Please segment the man in the red shirt.",
    "a white cat  sits on the table, two dogs run",
    "  indented\n\n    lines of code = 0;\n",
    "请在图中分割穿红色衣服的人。",
    "这张图片里有什么？一只猫坐在桌子上",
)


def tiny(**llm):
    """The sizes of the tiny twin, with other settings of its language model."""
    return {**TINY, "llm": {**TINY["llm"], **llm}}


def config(sizes):
    """What the published ``config.json`` says."""
    return {
        "architectures": ["InternVLChatModel"],
        "model_type": "internvl_chat",
        "downsample_ratio": 0.5,
        "ps_version": "v2",
        "select_layer": -1,
        "template": "internlm2-chat",
        "force_image_size": sizes["image"]["image_size"],
        "torch_dtype": "bfloat16",
        "vision_config": {
            "architectures": ["InternVisionModel"],
            "model_type": "intern_vit_6b",
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
            "norm_type": "layer_norm",
            "qk_normalization": False,
            "qkv_bias": True,
            "drop_path_rate": 0.0,
            **sizes["vision"],
            **sizes["image"],
        },
        "llm_config": {
            "architectures": ["InternLM2ForCausalLM"],
            "model_type": "internlm2",
            "bias": False,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-5,
            "rope_theta": 1000000,
            "rope_scaling": {"type": "dynamic", "factor": 2.0},
            "tie_word_embeddings": False,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "pad_token_id": 2,
            **sizes["llm"],
        },
    }


def shapes(sizes):
    """Names and shapes of the tensors, in the order of the published files."""
    vision, llm, image = sizes["vision"], sizes["llm"], sizes["image"]
    width, wide, patch = vision["hidden_size"], vision["intermediate_size"], image["patch_size"]
    embeddings = "vision_model.embeddings."
    found = {
        f"{embeddings}class_embedding": (1, 1, width),
        f"{embeddings}position_embedding": (1, (image["image_size"] // patch) ** 2 + 1, width),
        f"{embeddings}patch_embedding.weight": (width, 3, patch, patch),
        f"{embeddings}patch_embedding.bias": (width,),
    }
    for layer in range(vision["num_hidden_layers"]):
        prefix = f"vision_model.encoder.layers.{layer}."
        found |= {f"{prefix}ls1": (width,), f"{prefix}ls2": (width,)}
        linears = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
        linears |= {"mlp.fc1": (wide, width), "mlp.fc2": (width, wide), "norm1": (width,), "norm2": (width,)}
        for name, shape in linears.items():
            found |= {f"{prefix}{name}.weight": shape, f"{prefix}{name}.bias": shape[:1]}
    hidden, ffn, words = llm["hidden_size"], llm["intermediate_size"], llm["vocab_size"]
    head = hidden // llm["num_attention_heads"]
    fused = head * (llm["num_attention_heads"] + 2 * llm["num_key_value_heads"])
    found["language_model.model.tok_embeddings.weight"] = (words, hidden)
    for layer in range(llm["num_hidden_layers"]):
        prefix = f"language_model.model.layers.{layer}."
        found |= {
            f"{prefix}attention.wqkv.weight": (fused, hidden),
            f"{prefix}attention.wo.weight": (hidden, hidden),
            f"{prefix}feed_forward.w1.weight": (ffn, hidden),
            f"{prefix}feed_forward.w3.weight": (ffn, hidden),
            f"{prefix}feed_forward.w2.weight": (hidden, ffn),
            f"{prefix}attention_norm.weight": (hidden,),
            f"{prefix}ffn_norm.weight": (hidden,),
        }
    found |= {"language_model.model.norm.weight": (hidden,), "language_model.output.weight": (words, hidden)}
    for number, shape in {0: (4 * width,), 1: (hidden, 4 * width), 3: (hidden, hidden)}.items():
        found |= {f"mlp1.{number}.weight": shape, f"mlp1.{number}.bias": shape[:1]}
    return found


def random_state(sizes, seed=0, dtype=torch.float32):
    """Weights of a scale at which every part matters: norms and scales near one, the rest small."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes(sizes).items():
        noise = torch.randn(shape, generator=generator)
        near_one = "norm" in name or name.endswith((".ls1", ".ls2", "mlp1.0.weight"))
        state[name] = (1 + 0.3 * noise if near_one and not name.endswith("bias") else 0.3 * noise).to(dtype)
    return state


def write_weights(folder, state, shards=1):
    """``model.safetensors``, or shards with their index."""
    if shards == 1:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, weight_map = list(state), {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = names[number * len(names) // shards : (number + 1) * len(names) // shards]
        save_file({name: state[name] for name in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": sum(tensor.nbytes for tensor in state.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def train_sentencepiece(texts=TEXTS, **settings):
    """A small BPE model of InternLM2's kind, as bytes."""
    written = io.BytesIO()
    arguments = {
        "model_type": "bpe",
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "vocab_size": 420,
        "add_dummy_prefix": False,
        "user_defined_symbols": list(RESERVED),
        **settings,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=written,
        byte_fallback=True,
        num_threads=1,
        minloglevel=2,
        **arguments,
    )
    return written.getvalue()


def write_tokenizer(folder, model=None):
    """The four published files; the ids of the chat tokens are those of the reserved pieces."""
    folder = Path(folder)
    model = model or train_sentencepiece()
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    (folder / "tokenizer.model").write_bytes(model)
    first = pieces.get_piece_size()
    ids = {token: index for index, token in enumerate(("<unk>", "<s>", "</s>"))}
    ids |= {token: pieces.piece_to_id(reserved) for token, reserved in zip(CHAT_TOKENS, RESERVED)}
    added = {token: first + number for number, token in enumerate(ADDED_TOKENS)}
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    decoder = {str(index): {"content": token, **flags} for token, index in {**ids, **added}.items()}
    settings = {
        **roles,
        "added_tokens_decoder": decoder,
        "additional_special_tokens": [*reversed(CHAT_TOKENS), *ADDED_TOKENS],
        "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
        "clean_up_tokenization_spaces": False,
        "model_max_length": 8192,
        "tokenizer_class": "InternLM2Tokenizer",
    }
    special = {**roles, "additional_special_tokens": settings["additional_special_tokens"]}
    for name, content in {
        "tokenizer_config.json": settings,
        "special_tokens_map.json": special,
        "added_tokens.json": added,
    }.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False))
    return pieces


def write_internvl(folder, sizes=TINY, shards=1, seed=0, dtype=torch.float32):
    """A whole folder; returns its weights."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(sizes)))
    state = random_state(sizes, seed, dtype)
    write_weights(folder, state, shards)
    write_tokenizer(folder)
    return state
