"""Small random InternVL2.5 and InternVL3 folders in both published layouts, and what their models compute, stated plainly."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from lira_plugin.convert import internlm2_tokenizer
from support import internvl_twin, qwen2_vl_twin

VISION = {**internvl_twin.TINY["vision"], **internvl_twin.TINY["image"]}
LLM = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_theta": 1000000.0,
}
EPS = {"InternLM2": 1e-5, "Qwen2": 1e-6, "Qwen3": 1e-6}
WORDS = {"InternLM2": 429, "Qwen2": 306, "Qwen3": 306}
HEAD = {"InternLM2": 8, "Qwen2": 8, "Qwen3": 16}
"""Dimensions of a head; those of Qwen3 are more than a part of the width."""


@dataclass(frozen=True)
class Twin:
    """A folder: the family of its LLM, its layout, and the kind of its vision tower."""

    llm: str = "Qwen2"
    layout: str = "original"
    """``original``, ``hf`` (transformers' names as they are published) or ``hf5`` (as transformers 5 writes them)."""
    norm_type: str = "layer_norm"
    qk_norm: bool = False
    qkv_bias: bool = True
    tied: bool = False
    longest: int = 64
    """Positions that the LLM was trained for."""

    def __str__(self) -> str:
        return "-".join(str(value) for name, value in vars(self).items() if name != "longest")


def random_state(twin: Twin, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights under the original names."""
    generator = torch.Generator().manual_seed(seed)
    shapes = dict(internvl_twin.shapes(internvl_twin.TINY))
    if twin.llm != "InternLM2":
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith("language_model.")}
        shapes |= qwen_shapes(twin)
    for name in list(shapes):
        if twin.norm_type == "rms_norm" and re.search(r"\.norm[12]\.bias", name):
            del shapes[name]
        if not twin.qkv_bias and name.endswith("attn.qkv.bias"):
            del shapes[name]
        if twin.qk_norm and name.endswith("attn.qkv.weight"):
            shapes |= {name.replace("qkv", part): (VISION["hidden_size"],) for part in ("q_norm", "k_norm")}
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        near_one = "norm" in name or name.endswith((".ls1", ".ls2", "mlp1.0.weight"))
        state[name] = 1 + 0.3 * noise if near_one and not name.endswith("bias") else 0.3 * noise
    return state


def qwen_shapes(twin: Twin) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the LLM of InternVL3 and InternVL3.5."""
    hidden, wide, head = LLM["hidden_size"], LLM["intermediate_size"], HEAD[twin.llm]
    queries, keys = LLM["num_attention_heads"] * head, LLM["num_key_value_heads"] * head
    shapes = {"language_model.model.embed_tokens.weight": (WORDS[twin.llm], hidden)}
    for layer in range(LLM["num_hidden_layers"]):
        name = f"language_model.model.layers.{layer}."
        for letter, rows in {"q": queries, "k": keys, "v": keys}.items():
            shapes |= {f"{name}self_attn.{letter}_proj.weight": (rows, hidden)}
            shapes |= {f"{name}self_attn.{letter}_proj.bias": (rows,)} if twin.llm == "Qwen2" else {}
        shapes |= {f"{name}self_attn.{letter}_norm.weight": (head,) for letter in "qk"} if twin.llm == "Qwen3" else {}
        shapes |= {f"{name}self_attn.o_proj.weight": (hidden, queries)}
        shapes |= {f"{name}mlp.{part}_proj.weight": (wide, hidden) for part in ("gate", "up")}
        shapes |= {f"{name}mlp.down_proj.weight": (hidden, wide)}
        shapes |= {f"{name}{part}_layernorm.weight": (hidden,) for part in ("input", "post_attention")}
    shapes |= {"language_model.model.norm.weight": (hidden,)}
    return shapes if twin.tied else shapes | {"language_model.lm_head.weight": (WORDS[twin.llm], hidden)}


def config(twin: Twin) -> dict:
    """What ``config.json`` says in the twin's layout."""
    llm = {**LLM, "vocab_size": WORDS[twin.llm], "rms_norm_eps": EPS[twin.llm], "hidden_act": "silu"}
    llm |= {"max_position_embeddings": twin.longest}
    llm |= {"architectures": [f"{twin.llm}ForCausalLM"], "tie_word_embeddings": twin.tied}
    vision = {**VISION, "hidden_act": "gelu", "layer_norm_eps": 1e-6, "norm_type": twin.norm_type}
    scaling = {"factor": 2.0, "type": "dynamic"}
    if twin.llm == "Qwen3":
        llm |= {"head_dim": HEAD["Qwen3"], "attention_bias": False}
    if twin.layout == "original":
        vision |= {"model_type": "intern_vit_6b", "qkv_bias": twin.qkv_bias, "qk_normalization": twin.qk_norm}
        llm |= {"model_type": twin.llm.lower(), "rope_scaling": scaling}
        llm |= {"bias": False} if twin.llm == "InternLM2" else {"use_sliding_window": False}
        llm |= {"rope_scaling": None} if twin.llm == "Qwen3" else {}
        return {
            "architectures": ["InternVLChatModel"],
            "model_type": "internvl_chat",
            "downsample_ratio": 0.5,
            "dynamic_image_size": True,
            "force_image_size": VISION["image_size"],
            "min_dynamic_patch": 1,
            "max_dynamic_patch": 12,
            "pad2square": False,
            "ps_version": "v2",
            "select_layer": -1,
            "template": "internvl2_5",
            "use_thumbnail": True,
            "vision_config": vision,
            "llm_config": llm,
        }
    vision |= {name: [vision[name]] * 2 for name in ("image_size", "patch_size")}
    vision |= {"attention_bias": twin.qkv_bias, "use_qk_norm": twin.qk_norm, "use_mean_pooling": True}
    llm |= {"model_type": {"InternLM2": "llama", "Qwen2": "qwen2", "Qwen3": "qwen3"}[twin.llm]}
    if twin.llm == "Qwen3":
        llm["rope_scaling"] = None
    elif twin.layout == "hf":
        llm["rope_scaling"] = {"rope_type": "dynamic", **scaling}
    else:
        llm["rope_parameters"] = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": llm.pop("rope_theta")}
    return {
        "architectures": ["InternVLForConditionalGeneration"],
        "model_type": "internvl",
        "downsample_ratio": 0.5,
        "image_seq_length": 256,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
        "vision_config": {"model_type": "internvl_vision", **vision},
        "text_config": llm,
    }


def in_transformers_layout(state: dict[str, torch.Tensor], twin: Twin) -> dict[str, torch.Tensor]:
    """The same weights under transformers' names, with query, key and value apart."""
    parted = {}
    for name, tensor in state.items():
        if "attn.qkv" in name:
            parts = tensor.chunk(3)
            parted |= {name.replace("qkv", f"{letter}_proj"): part.clone() for letter, part in zip("qkv", parts)}
        elif "attention.wqkv" in name:
            groups = tensor.reshape(
                2, 4, 8, 32
            )  # key heads, two queries with key and value, dimensions of a head, width
            parts = groups[:, :2], groups[:, 2], groups[:, 3]
            for letter, part in zip("qkv", parts):
                parted[name.replace("attention.wqkv", f"self_attn.{letter}_proj")] = part.reshape(-1, 32).clone()
        else:
            parted[name] = tensor
    names = [
        (r"^vision_model\.", "vision_tower."),
        (r"^(vision_tower.*)\.layers\.", r"\1.layer."),
        (r"class_embedding", "cls_token"),
        (r"position_embedding$", "position_embeddings"),
        (r"patch_embedding", "patch_embeddings.projection"),
        (r"\.ls([12])$", r".lambda_\1"),
        (r"attn\.proj", "attention.projection_layer"),
        (r"\.attn\.", ".attention."),
        (r"\.norm1\.", ".layernorm_before."),
        (r"(layer\.\d+)\.norm2\.", r"\1.layernorm_after."),
        (r"tok_embeddings", "embed_tokens"),
        (r"attention\.wo", "self_attn.o_proj"),
        (r"feed_forward\.w1", "mlp.gate_proj"),
        (r"feed_forward\.w2", "mlp.down_proj"),
        (r"feed_forward\.w3", "mlp.up_proj"),
        (r"attention_norm", "input_layernorm"),
        (r"ffn_norm", "post_attention_layernorm"),
        (r"language_model\.output", "language_model.lm_head"),
        (r"^mlp1\.0", "multi_modal_projector.layer_norm"),
        (r"^mlp1\.1", "multi_modal_projector.linear_1"),
        (r"^mlp1\.3", "multi_modal_projector.linear_2"),
    ]
    if twin.layout == "hf5":
        names += [(r"^language_model\.lm_head", "lm_head"), (r"^language_model\.model\.", "model.language_model.")]
        names += [(r"^(vision_tower|multi_modal_projector)\.", r"model.\1.")]
    renamed = {}
    for name, tensor in parted.items():
        for pattern, new in names:
            name = re.sub(pattern, new, name)
        renamed[name] = tensor
    return renamed


def write_twin(folder: Path, twin: Twin, shards: int = 2) -> dict[str, torch.Tensor]:
    """A whole folder; returns its weights under the original names."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(twin)))
    state = random_state(twin)
    written = state if twin.layout == "original" else in_transformers_layout(state, twin)
    internvl_twin.write_weights(folder, written, shards)
    if twin.llm != "InternLM2":
        qwen2_vl_twin.write_tokenizer(folder)
    else:
        internvl_twin.write_tokenizer(folder)
        if twin.layout != "original":  # there it is in one file
            internlm2_tokenizer(folder).save_pretrained(folder)
            (folder / "tokenizer.model").unlink()
    return state


# --- Plain statements ------------------------------------------------------------------------------------------------


def rms_norm(x, weight, eps):
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight + bias


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def turned(heads, base):
    """(h, L, d): dimension i turns with i + d/2, by position / base^(2i/d)."""
    length, size = heads.shape[1:]
    angle = torch.arange(length)[:, None] * base ** (-2 * torch.arange(size // 2) / size)
    first, second = heads[..., : size // 2], heads[..., size // 2 :]
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


def logits(state, ids, twin):
    """What the LLM of the twin says to ids: (L, V)."""
    hf = {
        name.removeprefix("language_model."): t
        for name, t in in_transformers_layout(state, Twin(twin.llm, "hf")).items()
    }
    eps, length = EPS[twin.llm], len(ids)
    head = HEAD[twin.llm]
    base, longest = LLM["rope_theta"], twin.longest
    if length > longest and twin.llm != "Qwen3":
        base *= (2 * length / longest - 1) ** (head / (head - 2))
    x = hf["model.embed_tokens.weight"][ids]
    for layer in range(LLM["num_hidden_layers"]):
        w = {name.removeprefix(f"model.layers.{layer}."): t for name, t in hf.items()}
        y = rms_norm(x, w["input_layernorm.weight"], eps)
        parts = {}
        for letter in "qkv":
            part = y @ w[f"self_attn.{letter}_proj.weight"].T + w.get(f"self_attn.{letter}_proj.bias", 0)
            parts[letter] = part.reshape(length, -1, head).transpose(0, 1)
            if f"self_attn.{letter}_norm.weight" in w:
                parts[letter] = rms_norm(parts[letter], w[f"self_attn.{letter}_norm.weight"], eps)
        query, key = turned(parts["q"], base), turned(parts["k"], base)
        groups = len(query) // len(key)
        key, value = (part.repeat_interleave(groups, 0) for part in (key, parts["v"]))
        scores = query @ key.transpose(1, 2) / math.sqrt(head)
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf).softmax(-1)
        x = x + (scores @ value).transpose(0, 1).reshape(length, -1) @ w["self_attn.o_proj.weight"].T
        y = rms_norm(x, w["post_attention_layernorm.weight"], eps)
        gate = y @ w["mlp.gate_proj.weight"].T
        x = x + (gate * gate.sigmoid() * (y @ w["mlp.up_proj.weight"].T)) @ w["mlp.down_proj.weight"].T
    out = rms_norm(x, hf["model.norm.weight"], eps)
    return out @ (hf["model.embed_tokens.weight"] if twin.tied else hf["lm_head.weight"]).T


def semantic_tokens(state, tile, twin):
    """What the tower makes of one (3, t, t) uint8 tile: (P / 4, H)."""
    patch, width, heads = VISION["patch_size"], VISION["hidden_size"], VISION["num_attention_heads"]
    grid = VISION["image_size"] // patch
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    image = (tile / 255 - mean[:, None, None]) / std[:, None, None]
    front = {name.removeprefix("vision_model.embeddings."): t for name, t in state.items()}
    patches = image.reshape(3, grid, patch, grid, patch).permute(1, 3, 0, 2, 4).reshape(grid * grid, -1)
    embedded = patches @ front["patch_embedding.weight"].flatten(1).T + front["patch_embedding.bias"]
    x = torch.cat([front["class_embedding"][0], embedded]) + front["position_embedding"][0]

    def norm(x, w, name):
        if twin.norm_type == "rms_norm":
            return rms_norm(x, w[f"{name}.weight"], 1e-6)
        return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    for layer in range(VISION["num_hidden_layers"]):
        w = {name.removeprefix(f"vision_model.encoder.layers.{layer}."): t for name, t in state.items()}
        q, k, v = (norm(x, w, "norm1") @ w["attn.qkv.weight"].T + w.get("attn.qkv.bias", 0)).chunk(3, -1)
        if twin.qk_norm:
            q, k = (rms_norm(part, w[f"attn.{name}.weight"], 1e-6) for part, name in ((q, "q_norm"), (k, "k_norm")))
        q, k, v = (part.reshape(len(x), heads, -1).transpose(0, 1) for part in (q, k, v))
        seen = (q @ k.transpose(1, 2) / math.sqrt(width // heads)).softmax(-1)
        mixed = (seen @ v).transpose(0, 1).reshape(len(x), width)
        x = x + w["ls1"] * (mixed @ w["attn.proj.weight"].T + w["attn.proj.bias"])
        y = gelu(norm(x, w, "norm2") @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"])
        x = x + w["ls2"] * (y @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"])
    cells = x[1:].reshape(grid, grid, width)
    squares = [
        torch.cat([cells[i, j], cells[i, j + 1], cells[i + 1, j], cells[i + 1, j + 1]])
        for i in range(0, grid, 2)
        for j in range(0, grid, 2)
    ]
    y = layer_norm(torch.stack(squares), state["mlp1.0.weight"], state["mlp1.0.bias"], 1e-5)
    y = gelu(y @ state["mlp1.1.weight"].T + state["mlp1.1.bias"])
    return y @ state["mlp1.3.weight"].T + state["mlp1.3.bias"]
