"""InternVL2 twins against a plain statement of InternLM2 and InternViT, written from their published layout."""

import json
import math
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from safetensors.torch import load_file, save_file
from support.internvl_twin import PUBLISHED_2B, TINY, config, random_state, shapes, tiny, write_internvl, write_weights
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from lira_plugin.checkpoint.files import load_into
from lira_plugin.convert import (
    convert_published,
    internlm2_tokenizer,
    llm_from_published,
    semantic_encoder_from_published,
)
from lira_plugin.convert.decoder_rules import split_wqkv
from lira_plugin.convert.import_internvl import InternVLCheckpoint
from lira_plugin.models import InterleavedLLM, InternViTEncoder
from lira_plugin.registry import MODELS

pytestmark = pytest.mark.slow

KEYS = Path(__file__).parents[1] / "data" / "internvl2_2b_keys.txt"


def published_keys():
    pairs = (line.split(" ", 1) for line in KEYS.read_text().splitlines())
    return {name: tuple(json.loads(shape)) for name, shape in pairs}


def published_checkpoint(folder):
    (folder / "config.json").write_text(json.dumps(config(PUBLISHED_2B)))
    return InternVLCheckpoint(folder)


# --- Plain statements ------------------------------------------------------------------------------------------------


def rms_norm(x, weight, eps=1e-5):
    return x / (x.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight


def rotate(x, position, base):
    """A head's vector at a position: dimension i turns with i + half by ``position / base^(2i / d)``."""
    half = len(x) // 2
    turned = torch.empty_like(x)
    for i in range(half):
        angle = position / base ** (2 * i / len(x))
        turned[i] = x[i] * math.cos(angle) - x[i + half] * math.sin(angle)
        turned[i + half] = x[i + half] * math.cos(angle) + x[i] * math.sin(angle)
    return turned


def internlm2_attention(x, wqkv, wo, llm, base):
    """(L, H) to (L, H), a head and a row at a time; the rows of ``wqkv`` are grouped by key head."""
    kv_heads = llm["num_key_value_heads"]
    queries, head = llm["num_attention_heads"] // kv_heads, llm["hidden_size"] // llm["num_attention_heads"]
    rows = wqkv.reshape(kv_heads, queries + 2, head, llm["hidden_size"])
    heads = []
    for group in range(kv_heads):
        key = [rotate(rows[group, queries] @ row, place, base) for place, row in enumerate(x)]
        value = [rows[group, queries + 1] @ row for row in x]
        for number in range(queries):
            out = []
            for place, row in enumerate(x):
                query = rotate(rows[group, number] @ row, place, base)
                seen = torch.stack([query @ key[other] / math.sqrt(head) for other in range(place + 1)]).softmax(0)
                out.append(sum(weight * value[other] for other, weight in enumerate(seen)))
            heads.append(torch.stack(out))
    return torch.cat(heads, 1) @ wo.T


def internlm2(state, ids, sizes):
    """Logits (L, V)."""
    llm = sizes["llm"]
    head, longest, base = llm["hidden_size"] // llm["num_attention_heads"], llm["max_position_embeddings"], 1e6
    if len(ids) > longest:  # dynamic NTK scaling with factor 2
        base *= (2 * len(ids) / longest - 1) ** (head / (head - 2))
    state = {name.removeprefix("language_model."): tensor for name, tensor in state.items()}
    x = state["model.tok_embeddings.weight"][ids]
    for layer in range(llm["num_hidden_layers"]):
        w = {name: state[f"model.layers.{layer}.{name}.weight"] for name in ("attention_norm", "ffn_norm")}
        w |= {name: state[f"model.layers.{layer}.attention.{name}.weight"] for name in ("wqkv", "wo")}
        w |= {name: state[f"model.layers.{layer}.feed_forward.{name}.weight"] for name in ("w1", "w2", "w3")}
        x = x + internlm2_attention(rms_norm(x, w["attention_norm"]), w["wqkv"], w["wo"], llm, base)
        y = rms_norm(x, w["ffn_norm"])
        gate = y @ w["w1"].T
        x = x + (gate * gate.sigmoid() * (y @ w["w3"].T)) @ w["w2"].T
    return rms_norm(x, state["model.norm.weight"]) @ state["output.weight"].T


def layer_norm(x, state, name, eps):
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]
    )


def linear(x, state, name):
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def internvit(state, tile, sizes):
    """One (3, t, t) uint8 tile to its semantic tokens (P / 4, H)."""
    vision, patch = sizes["vision"], sizes["image"]["patch_size"]
    grid, width, heads = sizes["image"]["image_size"] // patch, vision["hidden_size"], vision["num_attention_heads"]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    image = (tile / 255 - mean[:, None, None]) / std[:, None, None]
    kernel, embeddings = state["vision_model.embeddings.patch_embedding.weight"], "vision_model.embeddings."
    rows = [state[f"{embeddings}class_embedding"][0, 0]]
    for i in range(grid):
        for j in range(grid):
            block = image[:, i * patch : (i + 1) * patch, j * patch : (j + 1) * patch]
            rows.append(torch.einsum("chw,ochw->o", block, kernel) + state[f"{embeddings}patch_embedding.bias"])
    x = torch.stack(rows) + state[f"{embeddings}position_embedding"][0]
    for layer in range(vision["num_hidden_layers"]):
        name = f"vision_model.encoder.layers.{layer}."
        y = linear(layer_norm(x, state, f"{name}norm1", 1e-6), state, f"{name}attn.qkv")
        q, k, v = y.reshape(len(x), 3, heads, width // heads).unbind(1)
        seen = (torch.einsum("ihd,jhd->hij", q, k) / math.sqrt(width // heads)).softmax(-1)
        y = linear(torch.einsum("hij,jhd->ihd", seen, v).reshape(len(x), width), state, f"{name}attn.proj")
        x = x + state[f"{name}ls1"] * y
        y = gelu(linear(layer_norm(x, state, f"{name}norm2", 1e-6), state, f"{name}mlp.fc1"))
        x = x + state[f"{name}ls2"] * linear(y, state, f"{name}mlp.fc2")
    tokens = []
    for i in range(0, grid, 2):
        for j in range(0, grid, 2):
            block = [x[1 + row * grid + column] for row in (i, i + 1) for column in (j, j + 1)]
            tokens.append(torch.cat(block))
    y = layer_norm(torch.stack(tokens), state, "mlp1.0", 1e-5)
    return linear(gelu(linear(y, state, "mlp1.1")), state, "mlp1.3")


# --- The published layout --------------------------------------------------------------------------------------------


def test_the_twin_has_the_published_layout():
    assert shapes(PUBLISHED_2B) == published_keys()
    assert list(shapes(TINY)) == [
        name for name in published_keys() if not any(f".layers.{n}." in name for n in range(2, 24))
    ]


def test_every_published_key_goes_somewhere_once(tmp_path):
    checkpoint = published_checkpoint(tmp_path)
    rules = checkpoint.rules()
    assert {rule.source: rule.shape for rule in rules} == published_keys()
    assert len(rules) == len(published_keys()) == 517
    with init_empty_weights():
        encoder = InternViTEncoder(**checkpoint.semantic_encoder_args())
    with torch.device("meta"):
        llm = llm_from_published(tmp_path)
    for module, own in ((encoder, checkpoint.semantic_encoder_rules()), (llm, checkpoint.llm_rules())):
        targets = [pair for rule in own for pair in rule.target_shapes().items()]
        assert len(targets) == len(dict(targets))
        assert dict(targets) == {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert sum(parameter.numel() for module in (encoder, llm) for parameter in module.parameters()) == 2_205_754_368


def test_the_meta_device_needs_no_weights(tmp_path):
    published_checkpoint(tmp_path)
    with torch.device("meta"):
        parts = llm_from_published(tmp_path), semantic_encoder_from_published(tmp_path)
    assert all(parameter.is_meta for part in parts for parameter in part.parameters())


def test_settings_of_the_language_model_are_kept(tmp_path):
    llm = published_checkpoint(tmp_path).llm_config()
    assert llm.rope_scaling == {"rope_type": "dynamic", "factor": 2.0}
    assert (llm.rope_theta, llm.rms_norm_eps, llm.max_position_embeddings) == (1e6, 1e-5, 32768)
    assert (llm.bos_token_id, llm.eos_token_id, llm.pad_token_id) == (1, 2, 2)
    assert not llm.attention_bias and not llm.tie_word_embeddings


# --- Outputs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("length", [7, 12], ids=["short", "past the trained length"])
def test_the_language_model_computes_internlm2(tmp_path, kv_heads, length):
    sizes = tiny(num_key_value_heads=kv_heads, max_position_embeddings=8)
    state = write_internvl(tmp_path, sizes, shards=2)
    llm = llm_from_published(tmp_path).eval()
    ids = torch.randint(sizes["llm"]["vocab_size"], (length,), generator=torch.Generator().manual_seed(length))
    with torch.no_grad():
        logits = llm(ids[None]).logits[0]
    expected = internlm2(state, ids, sizes)
    assert expected.std() > 0.5, "the twin says something"
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("side", [56, 84])
def test_the_semantic_encoder_computes_internvit(tmp_path, side):
    sizes = {**TINY, "image": {"image_size": side, "patch_size": 14}}
    state = write_internvl(tmp_path, sizes)
    encoder = semantic_encoder_from_published(tmp_path).eval()
    tiles = torch.randint(256, (3, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = encoder(tiles)
    expected = torch.stack([internvit(state, tile, sizes) for tile in tiles])
    assert tokens.shape == (3, (side // 28) ** 2, 32)
    assert expected.std() > 0.1 and (expected[0] - expected[1]).abs().max() > 0.1
    torch.testing.assert_close(tokens, expected, atol=1e-4, rtol=0)


def test_fused_rows_by_counting():
    """Two key heads with three queries each, two rows a head: q q q k v, q q q k v."""
    rows = torch.arange(20.0)[:, None]
    query, key, value = split_wqkv(rows, kv_heads=2, queries=3)
    assert query.flatten().tolist() == [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15]
    assert key.flatten().tolist() == [6, 7, 16, 17]
    assert value.flatten().tolist() == [8, 9, 18, 19]


# --- In a recipe -----------------------------------------------------------------------------------------------------


def test_a_recipe_names_the_published_folder(tmp_path):
    state = write_internvl(tmp_path)
    words = len(internlm2_tokenizer(tmp_path))
    llm = MODELS.build(
        {"type": InterleavedLLM, "llm": {"type": llm_from_published, "path": tmp_path}, "vocabulary_size": words + 6}
    )
    head = llm.causal_lm.get_output_embeddings().weight
    assert len(head) == words + 6
    torch.testing.assert_close(head[:words], state["language_model.output.weight"])
    torch.testing.assert_close(head[words:], state["language_model.output.weight"].mean(0).expand(6, -1))
    assert all(parameter.requires_grad for parameter in llm.parameters())
    encoder = MODELS.build({"type": semantic_encoder_from_published, "path": tmp_path})
    assert isinstance(encoder, InternViTEncoder) and encoder.tokens_per_tile == 4


def test_weights_are_no_view_of_the_file(tmp_path):
    state = write_internvl(tmp_path)
    llm = llm_from_published(tmp_path)
    save_file({name: torch.zeros_like(tensor) for name, tensor in state.items()}, tmp_path / "model.safetensors")
    assert torch.equal(llm.lm_head.weight, state["language_model.output.weight"])


def test_dtypes(tmp_path):
    write_internvl(tmp_path, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in llm_from_published(tmp_path).parameters()} == {torch.float32}
    llm = llm_from_published(tmp_path, dtype="bfloat16", attn_implementation="eager")
    assert {parameter.dtype for parameter in llm.parameters()} == {torch.bfloat16}
    assert llm.model.rotary_emb.inv_freq.dtype == torch.float32, "positions would be rounded"
    encoder = semantic_encoder_from_published(tmp_path, dtype=torch.bfloat16)
    assert encoder(torch.zeros(1, 3, 56, 56, dtype=torch.uint8)).dtype == torch.bfloat16


# --- Conversion ------------------------------------------------------------------------------------------------------


def test_converted_equals_loaded_directly(tmp_path):
    write_internvl(tmp_path / "in", shards=3)
    assert convert_published(tmp_path / "in", tmp_path / "out", shard_bytes=40_000) == {}
    shards = sorted((tmp_path / "out" / "llm").glob("*.safetensors"))
    assert len(shards) > 2
    direct = llm_from_published(tmp_path / "in")
    converted = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "llm")
    assert type(converted) is type(direct)
    for name, tensor in direct.state_dict().items():
        assert torch.equal(converted.state_dict()[name], tensor), name
    for name in ("rope_scaling", "rope_theta", "rms_norm_eps", "vocab_size", "num_key_value_heads"):
        assert getattr(converted.config, name) == getattr(direct.config, name)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out" / "llm")
    text = "<|im_start|>user\n请 segment the cat<|im_end|>"
    assert tokenizer(text).input_ids == internlm2_tokenizer(tmp_path / "in")(text).input_ids

    folder = tmp_path / "out" / "semantic_encoder"
    holder = nn.Module()
    holder.semantic_encoder = InternViTEncoder(**json.loads((folder / "config.json").read_text()))
    load_into(holder, folder / "model.safetensors", prefix="semantic_encoder.")
    expected = semantic_encoder_from_published(tmp_path / "in").state_dict()
    for name, tensor in holder.semantic_encoder.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(("asked", "found"), [(None, torch.bfloat16), ("float32", torch.float32)])
def test_dtype_of_the_conversion(tmp_path, asked, found):
    write_internvl(tmp_path / "in", dtype=torch.bfloat16)
    convert_published(tmp_path / "in", tmp_path / "out", dtype=asked)
    tensors = load_file(tmp_path / "out" / "llm" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {found}
    config = json.loads((tmp_path / "out" / "llm" / "config.json").read_text())
    assert config.get("torch_dtype", config.get("dtype")) == str(found)[6:]  # transformers 4.56 renamed the first


# --- Bad folders -----------------------------------------------------------------------------------------------------


def rewrite(folder, change):
    state = random_state(TINY)
    change(state)
    write_weights(folder, state)


def reconfigure(folder, part, **values):
    settings = config(TINY)
    (settings[part] if part else settings).update(values)
    (folder / "config.json").write_text(json.dumps(settings))


WO = "language_model.model.layers.1.attention.wo.weight"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: rewrite(f, lambda s: s.pop(WO)), rf"1 missing: {WO} \(32, 32\)"),
        (
            lambda f: rewrite(f, lambda s: s.update({"mlp1.4.weight": torch.ones(2)})),
            r"1 unknown: mlp1.4.weight \(2,\) in model.safetensors",
        ),
        (
            lambda f: rewrite(f, lambda s: s.update({WO: torch.ones(32, 31)})),
            rf"{WO} \(32, 31\) in model.safetensors, expected \(32, 32\)",
        ),
        (
            lambda f: rewrite(f, lambda s: s.update({WO: torch.ones(32, 32, dtype=torch.int8)})),
            rf"not of floating point: {WO} I8",
        ),
        (lambda f: reconfigure(f, "", model_type="llava"), "model_type='llava'"),
        (lambda f: reconfigure(f, "llm_config", architectures=["Phi3ForCausalLM"]), "Phi3ForCausalLM"),
        (lambda f: reconfigure(f, "llm_config", bias=True), "llm_config.bias=True"),
        (lambda f: reconfigure(f, "vision_config", norm_type="rms_norm"), r"unknown: .*norm1\.bias"),
        (lambda f: reconfigure(f, "vision_config", qk_normalization=True), r"missing: .*q_norm"),
        (lambda f: reconfigure(f, "vision_config", hidden_act="relu"), "InternVL2-2B"),
        (lambda f: (f / "config.json").write_text("{"), "config.json is not a JSON file"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, spoil, message):
    write_internvl(tmp_path)
    spoil(tmp_path)
    for load in (llm_from_published, semantic_encoder_from_published):
        with pytest.raises(ValueError, match=message):
            load(tmp_path)


def test_computed_buffers_are_listed_with_the_reason(tmp_path):
    write_internvl(tmp_path / "in")
    name = "language_model.model.layers.0.attention.rotary_emb.inv_freq"
    rewrite(tmp_path / "in", lambda state: state.update({name: torch.ones(4)}))
    assert convert_published(tmp_path / "in", tmp_path / "out") == {name: "computed from rope_theta"}


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no folder"):
        llm_from_published(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        llm_from_published(tmp_path)
