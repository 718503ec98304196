"""Qwen2.5-VL and Qwen3-VL twins against transformers' own models, run beside ours."""

import json

import pytest
import torch
import transformers
from accelerate import init_empty_weights
from support.newer_qwen_twins import CLASSES, CONFIGS, IDS, TILES, cut, settings, write
from support.newer_transformers import needs_newer_transformers
from support.qwen2_vl_twin import as_published
from support.tiny_model import random_images
from torch import nn
from transformers import AutoModelForCausalLM

from lira_plugin.checkpoint.files import load_into
from lira_plugin.convert import convert_published, llm_from_published, semantic_encoder_from_published
from lira_plugin.convert.import_published import open_published
from lira_plugin.convert.published import PUBLISHED
from lira_plugin.models import InterleavedLLM
from lira_plugin.models.semantic_encoder import FeatureCache

pytestmark = [pytest.mark.slow, needs_newer_transformers]

KINDS = pytest.mark.parametrize("kind", CONFIGS)


def loaded(folder, kind):
    """LLM and semantic encoder of the folder, for comparison."""
    return llm_from_published(folder).eval(), semantic_encoder_from_published(folder, tile_size=TILES[kind]).eval()


# --- The published layout --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "tensors", "names"),
    [
        (
            "Qwen2_5-VL-3B",
            3_754_622_976,
            824,
            (
                "visual.blocks.31.mlp.gate_proj.bias",
                "visual.merger.ln_q.weight",
                "model.layers.35.self_attn.q_proj.bias",
            ),
        ),
        (
            "Qwen2_5-VL-7B",
            8_292_166_656,
            729,
            ("visual.patch_embed.proj.weight", "lm_head.weight", "model.norm.weight"),
        ),
        (
            "Qwen3-VL-2B",
            2_127_532_032,
            625,
            (
                "model.visual.deepstack_merger_list.2.norm.bias",
                "model.language_model.layers.27.self_attn.k_norm.weight",
            ),
        ),
        (
            "Qwen3-VL-4B",
            4_437_815_808,
            713,
            ("model.visual.pos_embed.weight", "model.language_model.embed_tokens.weight"),
        ),
    ],
)
def test_every_published_tensor_goes_somewhere_once(tmp_path, name, parameters, tensors, names):
    """Sums and counts are those of the published files; the shapes are those of transformers' own model."""
    said = json.loads(json.dumps(PUBLISHED[name]))
    (tmp_path / "config.json").write_text(json.dumps(said))
    kind = said["model_type"]
    with init_empty_weights():
        published = getattr(transformers, f"{CLASSES[kind]}ForConditionalGeneration")(
            getattr(transformers, f"{CLASSES[kind]}Config")(**said)
        )
    shapes = {}
    for tensor_name, tensor in published.state_dict().items():
        if kind == "qwen2_5_vl":  # the files have the names that the model had first
            tensor_name = as_published(tensor_name)
        shapes[tensor_name] = tuple(tensor.shape)
    checkpoint = open_published(tmp_path)
    if checkpoint.is_tied:
        del shapes["lm_head.weight"]
    rules = checkpoint.rules()
    assert {rule.source: rule.shape for rule in rules} == shapes
    assert len(rules) == len(shapes) == tensors
    assert shapes.keys() >= {*names}
    with torch.device("meta"):
        parts = semantic_encoder_from_published(tmp_path), llm_from_published(tmp_path)
    assert sum(parameter.numel() for part in parts for parameter in part.parameters()) == parameters


@KINDS
def test_the_twin_has_the_published_names(tmp_path, kind):
    """Transformers writes a model with the names that its files were published with."""
    write(tmp_path, kind, shard_size="1GB", tied=False)
    names = [rule.source for rule in open_published(tmp_path).rules()]
    stack = {"qwen2_5_vl": ("visual.", "model."), "qwen3_vl": ("model.visual.", "model.language_model.")}[kind]
    assert all(name.startswith(stack) or name == "lm_head.weight" for name in names)
    open_published(tmp_path).open()


def test_settings_of_the_language_model_are_kept(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED["Qwen3-VL-2B"]))
    config = open_published(tmp_path).llm_config()
    assert type(config).__name__ == "Qwen3Config"
    assert (config.rope_theta, config.rms_norm_eps, config.head_dim) == (5e6, 1e-6, 128)
    assert (config.bos_token_id, config.eos_token_id, config.tie_word_embeddings) == (151643, 151645, True)
    assert config.rope_scaling is None, "on one axis it is the plain one"
    assert config.deep_stack_levels == 3


@pytest.mark.parametrize("name", ["Qwen2_5-VL-3B", "Qwen3-VL-2B"])
def test_settings_that_are_absent_are_those_of_the_code_that_published_the_layout(tmp_path, name):
    said = json.loads(json.dumps(PUBLISHED[name]))
    text = said.get("text_config", said)
    for absent in ("rope_theta", "rms_norm_eps", "num_key_value_heads"):
        del text[absent]
    (tmp_path / "config.json").write_text(json.dumps(said))
    published = getattr(transformers, f"{CLASSES[said['model_type']]}Config")(**said).text_config
    ours = open_published(tmp_path).llm_config()
    assert (ours.rope_theta, ours.rms_norm_eps) == (published.rope_theta, published.rms_norm_eps)
    assert ours.num_key_value_heads == published.num_key_value_heads


# --- Outputs ---------------------------------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_text_gets_the_logits_of_transformers(tmp_path, kind, tied):
    model = write(tmp_path, kind, tied=tied)
    llm, _ = loaded(tmp_path, kind)
    assert (llm.lm_head.weight is llm.model.embed_tokens.weight) is tied
    ids = torch.randint(300, (2, 13), generator=torch.Generator().manual_seed(0))
    expected = model(ids).logits
    assert expected.std() > 0.5, "the twin says something"
    torch.testing.assert_close(llm(ids).logits, expected, atol=1e-4, rtol=0)


@KINDS
@torch.no_grad()
def test_semantic_tokens_are_those_of_transformers(tmp_path, kind):
    model = write(tmp_path, kind)
    _, encoder = loaded(tmp_path, kind)
    tiles = random_images(3, TILES[kind])
    given = cut(kind, tiles)
    output = model.model.visual(given["pixel_values"], given["image_grid_thw"])
    tokens, levels = output if isinstance(output, tuple) else (output, [])
    assert (
        encoder.deep_stack_levels
        == len(levels)
        == len(CONFIGS[kind]["vision_config"].get("deepstack_visual_indexes", ()))
    )
    expected = torch.cat([tokens, *levels], -1).unflatten(0, (3, -1))
    assert expected.std() > 0.3 and expected.shape[1] == encoder.tokens_per_tile
    torch.testing.assert_close(encoder(tiles), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(encoder(tiles[:1]), expected[:1], atol=1e-4, rtol=0)


@KINDS
@torch.no_grad()
def test_images_in_the_text_get_the_logits_of_transformers(tmp_path, kind):
    """At the positions that LIRA gives all rows: one line. What DeepStack adds behind the first layers is in it."""
    model = write(tmp_path, kind)
    llm, encoder = loaded(tmp_path, kind)
    tiles, start, image = random_images(3, TILES[kind]), IDS["vision_start_token_id"], IDS["image_token_id"]
    view = [start, *[image] * encoder.tokens_per_tile]
    ids = torch.tensor([[5, 6, *view, *view, 7, 8, *view, 9, 10, 11]])
    positions, given = torch.arange(ids.shape[1])[None], cut(kind, tiles)
    expected = model(ids, position_ids=positions.expand(3, 1, -1), **given).logits

    ours = InterleavedLLM(llm)
    embeddings = ours.embed(ids)
    assert embeddings.shape[-1] == (1 + encoder.deep_stack_levels) * 32
    embeddings[ids == image] = encoder(tiles).flatten(0, 1)
    hidden = ours(embeddings, torch.ones_like(ids, dtype=torch.bool)).hidden
    torch.testing.assert_close(ours.logits(hidden), expected, atol=2e-4, rtol=0)
    elsewhere = model(ids, **given).logits
    assert (elsewhere - expected).abs().max() > 1e-2, "a grid of positions would be another model"
    if encoder.deep_stack_levels:
        embeddings[..., 32:] = 0
        without = ours(embeddings, torch.ones_like(ids, dtype=torch.bool)).hidden
        assert (ours.logits(without) - expected).abs().max() > 0.1, "DeepStack says something"


@torch.no_grad()
def test_windows_part_what_most_layers_see(tmp_path):
    """Without the layers that see all of a tile, a change in one window stays in its tokens."""
    write(tmp_path, "qwen2_5_vl", vision_config={**CONFIGS["qwen2_5_vl"]["vision_config"], "fullatt_block_indexes": []})
    _, encoder = loaded(tmp_path, "qwen2_5_vl")
    tile = random_images(1, 112)
    other = tile.clone()
    other[..., :56, 56:] = 255 - other[..., :56, 56:]
    changed = (encoder(tile) - encoder(other)).abs().amax(-1).view(4, 4) > 1e-5
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[:2, 2:] = True
    assert torch.equal(changed, expected)


def test_a_tile_that_windows_do_not_divide_is_named(tmp_path):
    write(tmp_path, "qwen2_5_vl")
    with pytest.raises(ValueError, match="multiple of 56, the side of a window in pixels, got 84"):
        semantic_encoder_from_published(tmp_path, tile_size=84)
    with pytest.raises(ValueError, match="multiple of 28, the side of a token in pixels, got 60"):
        semantic_encoder_from_published(tmp_path, tile_size=60)


# --- In a recipe -----------------------------------------------------------------------------------------------------


@KINDS
@torch.no_grad()
def test_a_folder_of_features_gives_the_tokens(tmp_path, kind):
    """Where the projection is trained, what stands in front of it is kept: with DeepStack, of several layers."""
    write(tmp_path / "in", kind)
    _, encoder = loaded(tmp_path / "in", kind)
    encoder.requires_grad_(False).get_submodule(encoder.PROJECTION).requires_grad_(True)
    cache, tiles = FeatureCache(encoder, tmp_path / "features"), random_images(3, TILES[kind])
    expected = encoder(tiles)
    for _ in range(2):
        assert torch.equal(cache(tiles[:2], tiles[2:]), expected)


@KINDS
def test_dtypes(tmp_path, kind):
    write(tmp_path, kind, dtype=torch.bfloat16)
    encoder = semantic_encoder_from_published(tmp_path, dtype=torch.bfloat16, tile_size=TILES[kind])
    assert encoder(random_images(1, TILES[kind])).dtype == torch.bfloat16
    llm = llm_from_published(tmp_path, dtype="bfloat16")
    assert {parameter.dtype for parameter in llm.parameters()} == {torch.bfloat16}
    assert llm.model.rotary_emb.inv_freq.dtype == torch.float32, "positions would be rounded"


@KINDS
@pytest.mark.parametrize("tied", [True, False])
def test_converted_equals_loaded_directly(tmp_path, kind, tied):
    write(tmp_path / "in", kind, tied=tied)
    out = tmp_path / "out"
    assert convert_published(tmp_path / "in", out, shard_bytes=40_000) == {}
    direct, encoder = loaded(tmp_path / "in", kind)
    converted = AutoModelForCausalLM.from_pretrained(out / "llm")
    assert type(converted) is type(direct)
    for name, tensor in direct.state_dict().items():
        assert torch.equal(converted.state_dict()[name], tensor), name
    for name in ("rope_scaling", "rope_theta", "rms_norm_eps", "head_dim", "eos_token_id", "deep_stack_levels"):
        assert getattr(converted.config, name, None) == getattr(direct.config, name, None)
    folder, holder = out / "semantic_encoder", nn.Module()
    said = json.loads((folder / "config.json").read_text())
    holder.semantic_encoder = type(encoder)(**said, tile_size=TILES[kind])
    load_into(holder, folder / "model.safetensors", prefix="semantic_encoder.")
    for name, tensor in holder.semantic_encoder.state_dict().items():
        assert torch.equal(tensor, encoder.state_dict()[name]), name


@KINDS
def test_a_folder_that_transformers_wrote_again_is_read(tmp_path, kind):
    """After a training elsewhere: other settings in the file, the same model."""
    model = write(tmp_path / "published", kind)
    model.save_pretrained(tmp_path / "again")
    assert "text_config" in json.loads((tmp_path / "again" / "config.json").read_text())
    for one, other in zip(loaded(tmp_path / "published", kind), loaded(tmp_path / "again", kind)):
        for name, tensor in one.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor), name
    assert (
        open_published(tmp_path / "again").llm_config().rope_theta
        == open_published(tmp_path / "published").llm["rope_theta"]
    )


# --- Bad folders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        (
            "qwen3_vl",
            {"model_type": "qwen3_vl_moe"},
            "model_type='qwen3_vl_moe', expected 'qwen2_vl', 'qwen2_5_vl', 'qwen3_vl'",
        ),
        ("qwen3_vl", {"text_config": {"attention_bias": True}}, r"text_config\.attention_bias=True, expected False"),
        (
            "qwen3_vl",
            {"text_config": {"rope_scaling": {"rope_type": "yarn"}}},
            r"text_config\.rope_scaling\.type='yarn'",
        ),
        ("qwen3_vl", {"vision_config": {"hidden_act": "gelu"}}, r"vision_config\.hidden_act='gelu'"),
        ("qwen3_vl", {"vision_config": {"deepstack_visual_indexes": [2, 0]}}, "in ascending order, got"),
        ("qwen3_vl", {"vision_config": {"deepstack_visual_indexes": [0]}}, "2 unknown|unknown: model.visual.deepstack"),
        ("qwen2_5_vl", {"vision_config": {"out_hidden_size": 48}}, r"vision_config\.out_hidden_size=48, expected 32"),
        ("qwen2_5_vl", {"use_sliding_window": True}, "use_sliding_window=True"),
        ("qwen2_5_vl", {"vision_config": {"intermediate_size": 40}}, "of another shape: visual.blocks.0.mlp"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, kind, change, message):
    write(tmp_path, kind)
    said = settings(kind)
    for name, value in change.items():
        said[name] = {**said[name], **value} if isinstance(value, dict) else value
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(ValueError, match=message):
        semantic_encoder_from_published(tmp_path, tile_size=TILES[kind])
