"""Twins of InternVL2.5 and InternVL3, in the original layout and in transformers', against a plain statement."""

import json

import pytest
import torch
from accelerate import init_empty_weights
from support.internvl_twins import Twin, config, in_transformers_layout, logits, semantic_tokens, write_twin
from support.newer_transformers import needs_newer_transformers
from support.tiny_model import random_images
from transformers import AutoModelForCausalLM, AutoTokenizer

from lira_plugin.convert import (
    convert_published,
    llama_from_internvl,
    llm_from_published,
    qwen2_from_qwen2_vl,
    semantic_encoder_from_published,
    template_from_published,
    tokenizer_from_published,
)
from lira_plugin.convert.import_internvl import InternVLCheckpoint
from lira_plugin.convert.import_published import open_published
from lira_plugin.convert.published import PUBLISHED
from lira_plugin.models import InternViTEncoder
from lira_plugin.structures import CHAT_TEMPLATES

pytestmark = pytest.mark.slow

LAYOUTS = ("original", "hf", "hf5")
TWINS = [
    *(Twin(llm, layout) for llm in ("InternLM2", "Qwen2") for layout in LAYOUTS),
    *(Twin("Qwen2", layout, "rms_norm", qk_norm=True, qkv_bias=False) for layout in LAYOUTS),
    *(Twin("Qwen2", layout, tied=True) for layout in LAYOUTS),
    Twin("Qwen2", "original", "rms_norm"),
    Twin("Qwen2", "hf", qk_norm=True),
    *(pytest.param(Twin("Qwen3", layout), marks=needs_newer_transformers) for layout in LAYOUTS),
]
twins = pytest.mark.parametrize("twin", TWINS, ids=str)


@twins
@torch.no_grad()
def test_both_parts_compute_what_is_published(tmp_path, twin):
    state = write_twin(tmp_path, twin)
    llm = llm_from_published(tmp_path).eval()
    assert type(llm).__name__ == {"InternLM2": "LlamaForCausalLM"}.get(twin.llm, f"{twin.llm}ForCausalLM")
    for length in (9, 70):  # within the trained length, and past it
        ids = torch.randint(300, (length,), generator=torch.Generator().manual_seed(length))
        expected = logits(state, ids, twin)
        assert expected.std() > 0.5, "the twin says something"
        torch.testing.assert_close(llm(ids[None]).logits[0], expected, atol=2e-4, rtol=0)
    encoder = semantic_encoder_from_published(tmp_path).eval()
    tiles = random_images(2, 56)
    expected = torch.stack([semantic_tokens(state, tile, twin) for tile in tiles])
    assert (expected[0] - expected[1]).abs().max() > 0.1
    torch.testing.assert_close(encoder(tiles), expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("llm", ["InternLM2", "Qwen2"])
def test_both_layouts_give_the_same_weights_bit_by_bit(tmp_path, llm):
    loaded = []
    for layout in LAYOUTS:
        write_twin(tmp_path / layout, Twin(llm, layout))
        parts = llm_from_published(tmp_path / layout), semantic_encoder_from_published(tmp_path / layout)
        loaded.append([part.state_dict() for part in parts])
        assert parts[0].config.rope_scaling == {"rope_type": "dynamic", "factor": 2.0}
        assert parts[0].config.rope_theta == 1e6
    for other in loaded[1:]:
        for ours, theirs in zip(loaded[0], other):
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("name", "billions", "tensors"),
    [
        ("InternVL2_5-1B", 0.938, 346 + 24 * 12 + 3),
        ("InternVL2_5-2B", 2.21, 346 + 24 * 7 + 3),
        ("InternVL2_5-4B", 3.71, 346 + 36 * 12 + 3),
        ("InternVL2_5-8B", 8.08, 346 + 32 * 7 + 3),
        ("InternVL3-1B", 0.938, 346 + 24 * 12 + 3),
        ("InternVL3-2B", 2.09, 346 + 28 * 12 + 3),
        ("InternVL3-8B", 7.94, 346 + 28 * 12 + 3),
        pytest.param("InternVL3_5-1B", 1.06, 346 + 28 * 11 + 3, marks=needs_newer_transformers),
        pytest.param("InternVL3_5-2B", 2.35, 346 + 28 * 11 + 3, marks=needs_newer_transformers),
        pytest.param("InternVL3_5-4B", 4.73, 346 + 36 * 11 + 3, marks=needs_newer_transformers),
        pytest.param("InternVL3_5-8B", 8.53, 346 + 36 * 11 + 3, marks=needs_newer_transformers),
    ],
)
@pytest.mark.parametrize("layout", ["original", "hf"])
def test_every_tensor_of_a_published_size_goes_somewhere_once(tmp_path, name, billions, tensors, layout):
    """The publisher gives the parameters in billions; the names are those of the twins with the layers of the size."""
    settings = json.loads(json.dumps(PUBLISHED[name]))
    if layout == "hf":
        vision, llm = settings.pop("vision_config"), settings.pop("llm_config")
        vision |= {"attention_bias": vision.pop("qkv_bias"), "use_qk_norm": vision.pop("qk_normalization")}
        kinds = {"InternLM2ForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3"}
        llm |= {"model_type": kinds[llm["architectures"][0]]}
        settings |= {"model_type": "internvl", "text_config": llm, "vision_config": vision}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    checkpoint = InternVLCheckpoint(tmp_path)
    with init_empty_weights():
        encoder = InternViTEncoder(**checkpoint.semantic_encoder_args())
    with torch.device("meta"):
        llm = llm_from_published(tmp_path)
    for module, own in ((encoder, checkpoint.semantic_encoder_rules()), (llm, checkpoint.llm_rules())):
        targets = [pair for rule in own for pair in rule.target_shapes().items()]
        assert len(targets) == len(dict(targets))
        assert dict(targets) == {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    total = sum(parameter.numel() for module in (encoder, llm) for parameter in module.parameters())
    assert round(total / 1e9, 3 if billions < 1 else 2) == billions
    sources = {name: shape for rule in checkpoint.rules() for name, shape in rule.source_shapes().items()}
    fused = {"InternLM2ForCausalLM": 24 + PUBLISHED[name]["llm_config"]["num_hidden_layers"]}
    apart = 0 if layout == "original" else 2 * fused.get(PUBLISHED[name]["llm_config"]["architectures"][0], 24) + 2 * 24
    assert len(sources) == tensors + apart


@twins
def test_converted_equals_loaded_directly(tmp_path, twin):
    write_twin(tmp_path / "in", twin)
    assert convert_published(tmp_path / "in", tmp_path / "out", shard_bytes=40_000) == {}
    direct = llm_from_published(tmp_path / "in").state_dict()
    converted = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "llm").state_dict()
    assert all(torch.equal(converted[name], tensor) for name, tensor in direct.items())
    own, written = tokenizer_from_published(tmp_path / "in"), AutoTokenizer.from_pretrained(tmp_path / "out" / "llm")
    text = "<|im_start|>user\n请 segment the cat<|im_end|>"
    assert written(text).input_ids == own(text).input_ids


def test_the_template_is_the_folders(tmp_path):
    write_twin(tmp_path, Twin())
    assert template_from_published(tmp_path) == CHAT_TEMPLATES["internvl2_5_chat"]
    for named, ours in {"internlm2-chat": "internvl2_chat", "internvl2_5": "internvl2_5_chat"}.items():
        (tmp_path / "config.json").write_text(json.dumps(config(Twin()) | {"template": named}))
        assert template_from_published(tmp_path) == CHAT_TEMPLATES[ours]
    (tmp_path / "config.json").write_text(json.dumps(config(Twin()) | {"template": "Hermes-2"}))
    with pytest.raises(ValueError, match="template='Hermes-2', expected 'internlm2-chat' or 'internvl2_5'"):
        template_from_published(tmp_path)


def test_the_template_of_internvl3_is_written_as_published():
    """MPT style: each turn ends in ``<|im_end|>`` and a line break, the system prompt too."""
    template = CHAT_TEMPLATES["internvl2_5_chat"]
    before, after = template.question("Q", first=True)
    text = before + after + "A" + template.suffix
    before, after = template.question("R", first=False)
    text += before + after
    system = (
        "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
    )
    end, turns = "<|im_end|>\n", [("user", "Q"), ("assistant", "A"), ("user", "R")]
    expected = f"<|im_start|>system\n{system}{end}" + "".join(
        f"<|im_start|>{role}\n{said}{end}" for role, said in turns
    )
    assert text == f"{expected}<|im_start|>assistant\n"


def test_an_internlm2_folder_of_transformers_has_the_same_tokenizer_in_one_file(tmp_path):
    for layout in ("original", "hf"):
        write_twin(tmp_path / layout, Twin("InternLM2", layout))
    original, whole = (tokenizer_from_published(tmp_path / layout) for layout in ("original", "hf"))
    for text in ("a white cat  sits", "<|im_start|>请在图中", "[UNUSED_TOKEN_0]"):
        assert whole(text).input_ids == original(text).input_ids
    (tmp_path / "hf" / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json; ask for it"):
        tokenizer_from_published(tmp_path / "hf", "ask for it")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("vision_config", {"norm_type": "group_norm"}, "norm_type='group_norm', expected 'layer_norm' or 'rms_norm'"),
        ("vision_config", {"layer_norm_eps": 1e-5}, "layer_norm_eps=1e-05, expected 1e-06"),
        ("vision_config", {"image_size": [448, 224]}, "only squares"),
        ("vision_config", {"norm_type": "rms_norm"}, "unknown"),
        ("llm", {"use_sliding_window": True}, "use_sliding_window=True"),
        ("llm", {"model_type": "phi3", "architectures": ["Phi3ForCausalLM"]}, "Phi3ForCausalLM"),
        ("llm", {"hidden_act": "gelu"}, "hidden_act='gelu'"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, layout, part, change, message):
    write_twin(tmp_path, Twin(layout=layout))
    settings = config(Twin(layout=layout))
    name = ("llm_config" if layout == "original" else "text_config") if part == "llm" else part
    settings[name] |= change
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=message) as error:
        llm_from_published(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("layout", "change", "message"),
    [
        ("original", {"ps_version": "v1"}, "ps_version='v1', expected 'v2'"),
        ("original", {"force_image_size": 448}, "force_image_size=448, expected 56"),
        ("original", {"select_layer": -2}, "select_layer=-2"),
        ("hf", {"vision_feature_layer": -2}, "vision_feature_layer=-2"),
        ("hf", {"model_type": "llava"}, "model_type='llava'"),
    ],
)
def test_what_is_not_supported_of_the_whole_is_named(tmp_path, layout, change, message):
    write_twin(tmp_path, Twin(layout=layout))
    (tmp_path / "config.json").write_text(json.dumps(config(Twin(layout=layout)) | change))
    with pytest.raises(ValueError, match=message):
        semantic_encoder_from_published(tmp_path)


def test_a_part_of_a_stacked_tensor_that_is_missing_is_named(tmp_path):
    from support.internvl_twin import write_weights

    twin = Twin(layout="hf")
    weights = in_transformers_layout(write_twin(tmp_path, twin, shards=1), twin)
    del weights["vision_tower.encoder.layer.1.attention.k_proj.weight"]
    write_weights(tmp_path, weights)
    with pytest.raises(
        ValueError, match=r"1 missing: vision_tower\.encoder\.layer\.1\.attention\.k_proj\.weight \(16, 16\)"
    ):
        semantic_encoder_from_published(tmp_path)


def test_settings_that_are_absent_are_those_of_the_code_that_published_the_layout(tmp_path):
    """InternVL's own default is the tower of 6 billion parameters, that of transformers the one of 300 million."""
    for layout, expected in {"original": ("rms_norm", False, True), "hf": ("layer_norm", False, False)}.items():
        settings = config(Twin(layout=layout))
        for name in ("norm_type", "qkv_bias", "qk_normalization", "attention_bias", "use_qk_norm"):
            settings["vision_config"].pop(name, None)
        (tmp_path / "config.json").write_text(json.dumps(settings))
        vision = open_published(tmp_path).vision
        assert (vision.norm, vision.qkv_bias, vision.qk_norm) == expected


def test_the_functions_of_older_work_dirs_are_still_there():
    assert llama_from_internvl is qwen2_from_qwen2_vl is llm_from_published
