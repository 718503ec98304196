"""A twin of the released fine-tune: the imported LIRA has its weights, and its adapters change the LLM as theirs do."""

import json

import pytest
import torch
from mmengine.config import Config
from peft import LoraConfig, get_peft_model
from support.internvl_twin import TINY, random_state, tiny, write_internvl, write_weights
from support.paths import config_path
from support.tiny_model import CHANNELS, D, lira_config

from lira_plugin.checkpoint.files import load_into, read_state_dict
from lira_plugin.convert import convert_lira, export_lira, internlm2_tokenizer, llm_from_published
from lira_plugin.convert.import_internvl import InternVLCheckpoint
from lira_plugin.convert.import_lira import Sizes, lira_rules
from lira_plugin.convert.published import PUBLISHED
from lira_plugin.describe import measure_recipe
from lira_plugin.models import LIRA, InterleavedLLM

RANK, ALPHA = 4, 8
LLM = TINY["llm"]
HIDDEN, WIDE, WORDS = LLM["hidden_size"], LLM["intermediate_size"], LLM["vocab_size"] + 6
BACKBONE, PIXELS, OBJECTS = CHANNELS[-1], CHANNELS[-1] + 2 * D, 2 * D
FUSED = HIDDEN // 4 * (4 + 2 * 2)
LAYER = "llm.base_model.model.model.layers."


def linear(rows, columns):
    return {"weight": (rows, columns), "bias": (rows,)}


def released_shapes():
    """Names and shapes as the released files have them, in small."""
    adapted = {"attention.wqkv": (FUSED, HIDDEN), "attention.wo": (HIDDEN, HIDDEN)}
    adapted |= {f"feed_forward.{w}": shape for w, shape in {"w1": (WIDE, HIDDEN), "w3": (WIDE, HIDDEN)}.items()}
    adapted |= {"feed_forward.w2": (HIDDEN, WIDE)}
    layers = {f"{LAYER}{n}.{name}": shape for n in range(2) for name, shape in adapted.items()}
    layers["llm.base_model.model.output"] = (WORDS, HIDDEN)
    found = {
        "llm.base_model.model.model.tok_embeddings.weight": (WORDS, HIDDEN),
        "llm.base_model.model.output.base_layer.weight": (WORDS, HIDDEN),
    }
    for name, (rows, columns) in layers.items():
        found |= {f"{name}.lora_A.default.weight": (RANK, columns), f"{name}.lora_B.default.weight": (rows, RANK)}
    norm = {"weight": (HIDDEN,), "bias": (HIDDEN,)}
    modules = {
        "projector.model.query_proj": linear(BACKBONE, OBJECTS),
        "projector.model.model.0": linear(HIDDEN, BACKBONE),
        "projector.model.model.2": linear(HIDDEN, HIDDEN),
        "projector.model.model_feat.0": linear(HIDDEN, PIXELS),
        "projector.model.model_feat.2": linear(HIDDEN, HIDDEN),
        "projector.model.seperate_embed": {"weight": (1, HIDDEN)},
        "projector.model.seperate_embed_internvl": {"weight": (1, HIDDEN)},
        "projector.model.cross_beforellm.multihead_attn": {
            "in_proj_weight": (3 * HIDDEN, HIDDEN),
            "in_proj_bias": (3 * HIDDEN,),
        },
        "projector.model.cross_beforellm.multihead_attn.out_proj": linear(HIDDEN, HIDDEN),
        "projector.model.cross_beforellm.norm1": norm,
        "projector.model.cross_beforellm.norm2": norm,
        "projector_text2vision.model.0": linear(OBJECTS, HIDDEN),
        "projector_text2vision.model.2": linear(OBJECTS, OBJECTS),
    }
    return found | {f"{name}.{part}": shape for name, parts in modules.items() for part, shape in parts.items()}


def write_released(path):
    generator = torch.Generator().manual_seed(5)
    state = {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in released_shapes().items()}
    torch.save(state, path)
    return state


@pytest.fixture
def folder(tmp_path):
    write_internvl(tmp_path / "internvl")
    return tmp_path


def imported_lira(folder):
    """A LIRA as a recipe builds it: tokenizer and LLM of the InternVL2 folder, then the converted weights."""
    path = convert_lira(folder / "LIRA.pth", folder / "internvl", folder / "ours.pth")
    adapted = [f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")] + ["lm_head"]
    llm = {
        "type": InterleavedLLM,
        "llm": {"type": llm_from_published, "path": folder / "internvl"},
        "lora": {"r": RANK, "lora_alpha": ALPHA, "target_modules": adapted, "train_embeddings": True},
    }
    arguments = lira_config() | {
        "tokenizer": {"type": internlm2_tokenizer, "path": folder / "internvl"},
        "special_tokens": {"seg": "[SEG]", "reserved": ("<region>", "<mark>")},
        "llm": llm,
        "frozen": ["pixel_encoder", "semantic_encoder"],
    }
    lira = LIRA(**arguments)
    load_into(lira, path)
    return lira


def test_every_tensor_arrives(folder):
    state = write_released(folder / "LIRA.pth")
    own = imported_lira(folder).state_dict()
    pairs = {
        "projector.model.query_proj.weight": "sefe.query_proj.weight",
        "projector.model.model.2.bias": "sefe.object_proj.2.bias",
        "projector.model.model_feat.0.weight": "sefe.pixel_proj.0.weight",
        "projector.model.cross_beforellm.norm1.weight": "sefe.enrich.norm_query.weight",
        "projector.model.cross_beforellm.norm2.bias": "sefe.enrich.norm_context.bias",
        "projector.model.cross_beforellm.multihead_attn.in_proj_weight": "sefe.enrich.attention.in_proj_weight",
        "projector_text2vision.model.0.weight": "mask_decoder.state_proj.0.weight",
        "llm.base_model.model.model.tok_embeddings.weight": "llm.model.base_model.model.model.embed_tokens.weight",
    }
    for theirs, ours in pairs.items():
        assert torch.equal(own[ours], state[theirs]), ours
    assert torch.equal(own["sefe.semantic_separator"], state["projector.model.seperate_embed_internvl.weight"][0])
    assert torch.equal(own["sefe.pixel_separator"], state["projector.model.seperate_embed.weight"][0])


@pytest.mark.slow
@pytest.mark.parametrize(("size", "rank"), [("2b", 128), ("8b", 256)])
def test_at_full_size_it_is_all_that_the_recipe_trains(size, rank, tmp_path, monkeypatch):
    """Names and shapes of the model on the meta device, without any file."""
    monkeypatch.setenv("LIRA_WEIGHTS", str(tmp_path))
    recipe = Config.fromfile(config_path(f"lira_{size}_released"))
    trained = measure_recipe(recipe.model).model.state_dict()
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED[f"InternVL2-{size.upper()}"]))
    rules = lira_rules(InternVLCheckpoint(tmp_path), Sizes(rank, rank, backbone=6144, objects=512, pixels=6656))
    targets = {name: shape for rule in rules for name, shape in rule.target_shapes().items()}
    assert targets == {name: tuple(tensor.shape) for name, tensor in trained.items()}


def test_merged_adapters_equal_those_merged_before_the_split(folder):
    """InternLM2 with its adapters added into the fused weights, then imported, gives the same logits."""
    released = write_released(folder / "LIRA.pth")
    base = random_state(TINY)
    for name in list(base):
        theirs = f"llm.base_model.model.{name.removeprefix('language_model.').removesuffix('.weight')}"
        if f"{theirs}.lora_A.default.weight" in released and name != "language_model.output.weight":
            a, b = (released[f"{theirs}.lora_{matrix}.default.weight"] for matrix in "AB")
            base[name] = base[name] + ALPHA / RANK * b @ a
    head = "llm.base_model.model.output."
    a, b = (released[f"{head}lora_{matrix}.default.weight"] for matrix in "AB")
    base["language_model.output.weight"] = released[f"{head}base_layer.weight"] + ALPHA / RANK * b @ a
    base["language_model.model.tok_embeddings.weight"] = released["llm.base_model.model.model.tok_embeddings.weight"]
    merged = folder / "merged"
    write_internvl(merged, tiny(vocab_size=WORDS))
    write_weights(merged, base)
    model = imported_lira(folder).eval()
    ids = torch.arange(3, 60, 4)[None]
    with torch.no_grad():
        logits = model.llm.logits(model.llm.hidden_states(model.llm.embed(ids)))
        expected = llm_from_published(merged).eval()(ids).logits
    assert expected.std() > 0.5
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop(f"{LAYER}1.attention.wo.lora_B.default.weight"), r"missing: .*1\.attention\.wo\.lora_B"),
        (lambda s: s.update({"projector.model.extra": torch.ones(1)}), r"unknown: projector\.model\.extra \(1,\)"),
        (
            lambda s: s.update({f"{LAYER}0.attention.wqkv.lora_B.default.weight": torch.ones(3, RANK)}),
            rf"expected \({FUSED}, {RANK}\)",
        ),
        (lambda s: s.pop("projector.model.query_proj.weight"), r"no matrix projector\.model\.query_proj\.weight"),
    ],
)
def test_what_does_not_fit_is_named(folder, spoil, message):
    state = write_released(folder / "LIRA.pth")
    spoil(state)
    torch.save(state, folder / "LIRA.pth")
    with pytest.raises(ValueError, match=message):
        convert_lira(folder / "LIRA.pth", folder / "internvl", folder / "ours.pth")


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_a_file_with_code_is_refused(folder, capsys):
    torch.save({"x": Evil()}, folder / "LIRA.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        convert_lira(folder / "LIRA.pth", folder / "internvl", folder / "ours.pth")
    assert "run" not in capsys.readouterr().out


def test_a_cut_off_file(folder):
    write_released(folder / "LIRA.pth")
    (folder / "LIRA.pth").write_bytes((folder / "LIRA.pth").read_bytes()[:-500])
    with pytest.raises(ValueError, match="is the download complete"):
        convert_lira(folder / "LIRA.pth", folder / "internvl", folder / "ours.pth")


OURS = "llm.model.base_model.model.model.layers.{}.self_attn.{}_proj.lora_{}.default.weight"


def same_bits(state, other):
    return state.keys() == other.keys() and all(
        state[name].dtype == other[name].dtype and torch.equal(state[name], other[name]) for name in state
    )


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_released_to_ours_and_back_is_the_same_file(folder, suffix):
    state = write_released(folder / "LIRA.pth")
    ours = convert_lira(folder / "LIRA.pth", folder / "internvl", folder / f"ours{suffix}")
    back = export_lira(ours, folder / "internvl", folder / "back.pth")
    assert same_bits(torch.load(back, weights_only=True), state)


def test_a_trained_model_goes_out_and_comes_back(folder):
    """What the recipe saves: the matrices A shared, everything moved by training."""
    write_released(folder / "LIRA.pth")
    convert_lira(folder / "LIRA.pth", folder / "internvl", folder / "ours.pth")
    state = {name: tensor + 1 for name, tensor in read_state_dict(folder / "ours.pth").items()}
    torch.save({"state_dict": state, "meta": {"iter": 3}}, folder / "iter_3.pth")
    out = export_lira(folder / "iter_3.pth", folder / "internvl", folder / "out" / "LIRA-2B.pth")
    assert {name: tuple(tensor.shape) for name, tensor in torch.load(out).items()} == released_shapes()
    again = convert_lira(out, folder / "internvl", folder / "again.pth")
    assert same_bits(read_state_dict(again), state)


@pytest.fixture
def apart(folder):
    """A checkpoint of ours whose query, key and value have matrices A of their own in the second layer."""
    write_released(folder / "LIRA.pth")
    state = read_state_dict(convert_lira(folder / "LIRA.pth", folder / "internvl", folder / "ours.pth"))
    for number, part in enumerate("qkv"):
        state[OURS.format(1, part, "A")] = state[OURS.format(1, part, "A")] + number
    torch.save(state, folder / "apart.pth")
    return state


def test_matrices_that_differ_are_named_with_the_ways_out(folder, apart):
    with pytest.raises(ValueError, match=r"apart\.pth: .*layers\.1\.self_attn\.q_proj\.lora_A.*--stack.*shared_inputs"):
        export_lira(folder / "apart.pth", folder / "internvl", folder / "LIRA-2B.pth")
    assert not (folder / "LIRA-2B.pth").exists()


def test_stacked_adapters_change_the_fused_weight_as_the_three_do(folder, apart):
    out = torch.load(export_lira(folder / "apart.pth", folder / "internvl", folder / "LIRA-2B.pth", stack=True))
    head = HIDDEN // 4
    for layer in range(2):
        a, b = (out[f"{LAYER}{layer}.attention.wqkv.lora_{name}.default.weight"] for name in "AB")
        assert a.shape == (3 * RANK, HIDDEN) and b.shape == (FUSED, 3 * RANK)
        changes = {
            part: (apart[OURS.format(layer, part, "B")] @ apart[OURS.format(layer, part, "A")]).split(head)
            for part in "qkv"
        }
        rows = []  # two key heads, each with its two query heads in front
        for group in range(2):
            rows += [*changes["q"][2 * group : 2 * group + 2], changes["k"][group], changes["v"][group]]
        torch.testing.assert_close(b @ a, torch.cat(rows))
    assert out[f"{LAYER}0.attention.wo.lora_A.default.weight"].shape == (RANK, HIDDEN)
    again = convert_lira(folder / "LIRA-2B.pth", folder / "internvl", folder / "again.pth")
    assert same_bits(read_state_dict(again), apart)


def test_a_stack_is_loaded_by_peft_as_documented_with_the_same_scale(folder, apart):
    state = torch.load(export_lira(folder / "apart.pth", folder / "internvl", folder / "LIRA-2B.pth", stack=True))
    attention = torch.nn.ModuleDict({"wqkv": torch.nn.Linear(HIDDEN, FUSED), "wo": torch.nn.Linear(HIDDEN, HIDDEN)})
    patterns = {"rank_pattern": {"wqkv": 3 * RANK}, "alpha_pattern": {"wqkv": 3 * ALPHA}}
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["wqkv", "wo"], **patterns)
    model = get_peft_model(torch.nn.ModuleDict({"attention": attention}), config)
    prefix = f"{LAYER}1."
    adapters = {f"base_model.model.{n.removeprefix(prefix)}": t for n, t in state.items() if n.startswith(prefix)}
    own = {name for name in model.state_dict() if "lora" in name}
    model.load_state_dict({name: adapters[name] for name in own}, strict=False)
    adapted = model.base_model.model["attention"]
    assert adapted["wqkv"].scaling == adapted["wo"].scaling == {"default": ALPHA / RANK}


def test_an_adapter_of_three_times_the_rank_that_is_no_stack_is_refused(folder, apart):
    path = export_lira(folder / "apart.pth", folder / "internvl", folder / "LIRA-2B.pth", stack=True)
    state = torch.load(path)
    state[f"{LAYER}1.attention.wqkv.lora_B.default.weight"] += 1
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"layers\.1\.attention\.wqkv\.lora_B.* mixes the columns"):
        convert_lira(path, folder / "internvl", folder / "again.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update({"pixel_encoder.x": torch.ones(2)}), r"unknown: pixel_encoder\.x \(2,\)"),
        (
            lambda s: s.update({"mask_decoder.decoder.mask_embed.0.bias": torch.ones(2)}),
            r"apart\.pth has a mask decoder of its own \(1 tensors, .*decoder='shared'",
        ),
        (lambda s: s.pop(OURS.format(0, "k", "B")), r"missing: .*layers\.0\.self_attn\.k_proj\.lora_B"),
        (
            lambda s: s.pop("sefe.query_proj.weight"),
            r"no matrix sefe\.query_proj\.weight: .* LoRA fine-tune, with SEFE",
        ),
    ],
)
def test_what_the_released_layout_cannot_hold_is_named(folder, apart, change, message):
    change(apart)
    torch.save(apart, folder / "apart.pth")
    with pytest.raises(ValueError, match=message):
        export_lira(folder / "apart.pth", folder / "internvl", folder / "LIRA-2B.pth", stack=True)
