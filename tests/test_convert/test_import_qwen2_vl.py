"""Qwen2-VL twins against transformers' own model."""

import json
from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from safetensors.torch import load_file, save_file
from support.qwen2_vl_twin import CHAT_TOKENS, SIZES, TEXTS, TILE, as_published, write_qwen2_vl
from support.tiny_model import random_images
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
)

from lira_plugin.checkpoint.files import load_into
from lira_plugin.convert import (
    convert_published,
    llm_from_published,
    qwen2_tokenizer,
    semantic_encoder_from_published,
)
from lira_plugin.convert.import_qwen_vl import QwenVLCheckpoint
from lira_plugin.convert.published import PUBLISHED
from lira_plugin.models import InterleavedLLM, Qwen2VLEncoder
from lira_plugin.registry import MODELS

pytestmark = pytest.mark.slow

ONE_FILE = "1GB"
QUERY = "model.layers.1.self_attn.q_proj.weight"


def loaded(folder):
    """LLM and semantic encoder of the folder, for comparison."""
    return llm_from_published(folder).eval(), semantic_encoder_from_published(folder, tile_size=TILE).eval()


# --- The published layout --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_every_published_tensor_goes_somewhere_once(tmp_path, tied):
    """The names are those that transformers gives the published model; its parameters are 2,208,985,600."""
    config = {**PUBLISHED["Qwen2-VL-2B"], "tie_word_embeddings": tied}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with init_empty_weights():
        published = Qwen2VLForConditionalGeneration(Qwen2VLConfig(**json.loads(json.dumps(config))))
    published = {as_published(name): tuple(tensor.shape) for name, tensor in published.state_dict().items()}
    head = published.pop("lm_head.weight") if tied else None
    checkpoint = QwenVLCheckpoint(tmp_path)
    rules = checkpoint.rules()
    assert {rule.source: rule.shape for rule in rules} == published
    assert len(rules) == len(published)
    with torch.device("meta"):
        parts = semantic_encoder_from_published(tmp_path), llm_from_published(tmp_path)
    for part, own in zip(parts, (checkpoint.semantic_encoder_rules(), checkpoint.llm_rules()), strict=True):
        shapes = {name: tuple(tensor.shape) for name, tensor in part.state_dict().items()}
        assert not tied or shapes.pop("lm_head.weight", head) == head
        assert {name: shape for rule in own for name, shape in rule.target_shapes().items()} == shapes
        assert all(parameter.is_meta for parameter in part.parameters())
    total = sum(parameter.numel() for part in parts for parameter in part.parameters())
    assert total == 2_208_985_600 + (0 if tied else 151936 * 1536)


def test_settings_of_the_language_model_are_kept(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED["Qwen2-VL-2B"]))
    config = QwenVLCheckpoint(tmp_path).llm_config()
    assert (config.rope_theta, config.rms_norm_eps, config.max_position_embeddings) == (1e6, 1e-6, 32768)
    assert (config.bos_token_id, config.eos_token_id, config.tie_word_embeddings) == (151643, 151645, True)
    assert config.rope_scaling is None, "on one axis it is the plain one"


# --- Outputs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_text_gets_the_logits_of_transformers(tmp_path, kv_heads, tied):
    model = write_qwen2_vl(tmp_path, num_key_value_heads=kv_heads, tie_word_embeddings=tied)
    assert len(list(tmp_path.glob("model-0*-of-0*.safetensors"))) > 2
    llm, _ = loaded(tmp_path)
    assert isinstance(llm, Qwen2ForCausalLM)
    assert (llm.lm_head.weight is llm.model.embed_tokens.weight) is tied
    ids = torch.randint(300, (2, 13), generator=torch.Generator().manual_seed(0))
    expected = model(ids).logits
    assert expected.std() > 0.5, "the twin says something"
    torch.testing.assert_close(llm(ids).logits, expected, atol=1e-4, rtol=0)


def test_a_tied_head_can_be_parted_from_the_embedding_but_no_head_is_lost(tmp_path):
    write_qwen2_vl(tmp_path / "tied")
    llm = llm_from_published(tmp_path / "tied", tie_word_embeddings=False)
    head, embedding = llm.lm_head.weight, llm.model.embed_tokens.weight
    assert torch.equal(head, embedding) and head.data_ptr() != embedding.data_ptr()
    write_qwen2_vl(tmp_path / "untied", tie_word_embeddings=False)
    with pytest.raises(ValueError, match="a head of its own"):
        llm_from_published(tmp_path / "untied", tie_word_embeddings=True)


def test_an_unknown_data_type_is_named(tmp_path):
    write_qwen2_vl(tmp_path)
    for name in ("bf16", "nn"):
        with pytest.raises(ValueError, match=f"floating-point type.*'{name}'"):
            llm_from_published(tmp_path, dtype=name)


@torch.no_grad()
def test_images_in_the_text_get_the_logits_of_transformers(tmp_path):
    """At the positions that LIRA gives all rows: one line."""
    model = write_qwen2_vl(tmp_path)
    llm, encoder = loaded(tmp_path)
    tiles, start, image = random_images(3, TILE), SIZES["vision_start_token_id"], SIZES["image_token_id"]
    view = [start, *[image] * 4]
    ids = torch.tensor([[5, 6, *view, *view, 7, 8, *view, 9, 10, 11]])
    positions = torch.arange(ids.shape[1])[None]
    cut = Qwen2VLImageProcessor()(images=[tile.permute(1, 2, 0).numpy() for tile in tiles], return_tensors="pt")
    expected = model(ids, position_ids=positions.expand(3, 1, -1), **cut).logits

    ours = InterleavedLLM(llm)
    embeddings = ours.embed(ids)
    embeddings[ids == image] = encoder(tiles).flatten(0, 1)
    hidden = ours(embeddings, torch.ones_like(ids, dtype=torch.bool)).hidden
    torch.testing.assert_close(ours.logits(hidden), expected, atol=1e-4, rtol=0)
    elsewhere = model(ids, **cut).logits
    assert (elsewhere - expected).abs().max() > 1e-2, "a grid of positions would be another model"


def test_the_tokenizer_is_that_of_the_folder(tmp_path):
    write_qwen2_vl(tmp_path)
    ours, theirs = qwen2_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    for text in (*TEXTS, f"{CHAT_TOKENS[1]}user\n 请 segment{CHAT_TOKENS[2]}\n", "🐱  \n"):
        assert ours(text).input_ids == theirs(text).input_ids
        assert ours.decode(ours(text).input_ids, clean_up_tokenization_spaces=False) == text
    assert [ours.convert_tokens_to_ids(token) for token in CHAT_TOKENS] == [300, 301, 302]
    (tmp_path / "tokenizer.json").unlink()
    assert qwen2_tokenizer(tmp_path)(TEXTS[0]).input_ids == theirs(TEXTS[0]).input_ids, "from vocab.json and merges.txt"
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"merges\.txt; ask for it"):
        qwen2_tokenizer(tmp_path, "ask for it")


# --- In a recipe -----------------------------------------------------------------------------------------------------


def test_a_recipe_names_the_published_folder(tmp_path):
    model = write_qwen2_vl(tmp_path)
    ours = {"type": llm_from_published, "path": tmp_path}
    llm = MODELS.build({"type": InterleavedLLM, "llm": {**ours}, "vocabulary_size": 312})
    assert len(llm.causal_lm.lm_head.weight) == 448, "new tokens take rows that the embedding has to spare"
    llm = MODELS.build({"type": InterleavedLLM, "llm": {**ours}, "vocabulary_size": 450})
    assert len(llm.causal_lm.lm_head.weight) == 450
    assert llm.causal_lm.lm_head.weight is llm.causal_lm.model.embed_tokens.weight, "still tied"
    torch.testing.assert_close(llm.causal_lm.lm_head.weight[:448], model.lm_head.weight)
    encoder = MODELS.build({"type": semantic_encoder_from_published, "path": tmp_path, "tile_size": 84})
    assert isinstance(encoder, Qwen2VLEncoder) and encoder.tokens_per_tile == 9


def test_dtypes(tmp_path):
    write_qwen2_vl(tmp_path, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in llm_from_published(tmp_path).parameters()} == {torch.float32}
    llm = llm_from_published(tmp_path, dtype="bfloat16", attn_implementation="eager")
    assert {parameter.dtype for parameter in llm.parameters()} == {torch.bfloat16}
    assert llm.model.rotary_emb.inv_freq.dtype == torch.float32, "positions would be rounded"
    encoder = semantic_encoder_from_published(tmp_path, dtype=torch.bfloat16, tile_size=TILE)
    assert encoder(random_images(1, TILE)).dtype == torch.bfloat16


# --- Conversion ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_converted_equals_loaded_directly(tmp_path, tied):
    write_qwen2_vl(tmp_path / "in", tie_word_embeddings=tied)
    out = tmp_path / "out"
    assert convert_published(tmp_path / "in", out, shard_bytes=40_000) == {}
    assert len(list((out / "llm").glob("*.safetensors"))) > 2
    direct, encoder = loaded(tmp_path / "in")
    converted = AutoModelForCausalLM.from_pretrained(out / "llm")
    assert type(converted) is type(direct) is Qwen2ForCausalLM
    for name, tensor in direct.state_dict().items():
        assert torch.equal(converted.state_dict()[name], tensor), name
    for name in ("rope_scaling", "rope_theta", "rms_norm_eps", "vocab_size", "num_key_value_heads", "eos_token_id"):
        assert getattr(converted.config, name) == getattr(direct.config, name)
    tokenizer = AutoTokenizer.from_pretrained(out / "llm")
    assert tokenizer(TEXTS[0]).input_ids == qwen2_tokenizer(tmp_path / "in")(TEXTS[0]).input_ids

    folder, holder = out / "semantic_encoder", nn.Module()
    holder.semantic_encoder = Qwen2VLEncoder(**json.loads((folder / "config.json").read_text()), tile_size=TILE)
    load_into(holder, folder / "model.safetensors", prefix="semantic_encoder.")
    for name, tensor in holder.semantic_encoder.state_dict().items():
        assert torch.equal(tensor, encoder.state_dict()[name]), name


def test_a_run_that_broke_off_goes_on(tmp_path):
    write_qwen2_vl(tmp_path / "in")
    convert_published(tmp_path / "in", tmp_path / "out", shard_bytes=40_000)
    shards = sorted((tmp_path / "out" / "llm").glob("*.safetensors"))
    shards[1].unlink()
    before = {shard.name: shard.stat().st_mtime_ns for shard in shards if shard.exists()}
    convert_published(tmp_path / "in", tmp_path / "out", shard_bytes=40_000)
    assert shards[1].is_file()
    assert {name: (tmp_path / "out" / "llm" / name).stat().st_mtime_ns for name in before} == before


# --- Bad folders -----------------------------------------------------------------------------------------------------


def rewrite(folder, change):
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def reconfigure(folder, **values):
    path = Path(folder) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_tied_head_in_the_files_is_listed_with_the_reason(tmp_path):
    model = write_qwen2_vl(tmp_path / "in", shard_size=ONE_FILE)
    rewrite(tmp_path / "in", lambda state: state.update({"lm_head.weight": model.lm_head.weight.detach().clone()}))
    unused = convert_published(tmp_path / "in", tmp_path / "out")
    assert unused == {"lm_head.weight": "tied to model.embed_tokens.weight"}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: rewrite(f, lambda s: s.pop(QUERY)), rf"1 missing: {QUERY} \(32, 32\)"),
        (
            lambda f: rewrite(f, lambda s: s.update({"visual.extra.weight": torch.ones(2)})),
            r"1 unknown: visual.extra.weight \(2,\) in model.safetensors",
        ),
        (
            lambda f: rewrite(f, lambda s: s.update({QUERY: torch.ones(32, 31)})),
            rf"{QUERY} \(32, 31\) in model.safetensors, expected \(32, 32\)",
        ),
        (lambda f: reconfigure(f, tie_word_embeddings=False), r"1 missing: lm_head.weight \(448, 32\)"),
        (lambda f: reconfigure(f, model_type="qwen4_vl"), "model_type='qwen4_vl', expected 'qwen2_vl'"),
        (lambda f: reconfigure(f, text_config={"hidden_size": 48}), "vision_config.hidden_size=32, expected 48"),
        (lambda f: reconfigure(f, use_sliding_window=True), "use_sliding_window=True"),
        (lambda f: reconfigure(f, rope_scaling={"type": "yarn", "factor": 4.0}), "rope_scaling.type='yarn'"),
        (
            lambda f: reconfigure(f, vision_config={**SIZES["vision_config"], "hidden_size": 64}),
            "vision_config.hidden_size=64, expected 32",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, spoil, message):
    write_qwen2_vl(tmp_path, shard_size=ONE_FILE)
    spoil(tmp_path)
    for load in (llm_from_published, semantic_encoder_from_published):
        with pytest.raises(ValueError, match=message):
            load(tmp_path)


def test_a_shard_that_is_cut_off_or_missing(tmp_path):
    write_qwen2_vl(tmp_path)
    first, second, *_ = sorted(tmp_path.glob("model-*.safetensors"))
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=f"{first.name} is cut off"):
        llm_from_published(tmp_path)
    first.write_bytes(whole)
    second.unlink()
    with pytest.raises(FileNotFoundError, match=f"lacks {second.name}"):
        llm_from_published(tmp_path)
