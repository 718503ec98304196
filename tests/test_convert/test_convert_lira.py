"""A twin of the released fine-tune: the imported LIRA has its weights, and its adapters change the LLM as theirs do."""

import pytest
import torch
from internvl_twin import TINY, random_state, tiny, write_internvl, write_weights
from tiny import CHANNELS, D, lira_config

from lira_plugin.convert import convert_lira, internlm2_tokenizer, llama_from_internvl
from lira_plugin.models import LIRA, InterleavedLLM
from lira_plugin.models.checkpoint import load_into

RANK, ALPHA = 4, 8
LLM = TINY["llm"]
HIDDEN, WIDE, WORDS = LLM["hidden_size"], LLM["intermediate_size"], LLM["vocab_size"] + 6
BACKBONE, PIXELS, OBJECTS = CHANNELS[-1], CHANNELS[-1] + 2 * D, 2 * D
FUSED = HIDDEN // 4 * (4 + 2 * 2)
LAYER = "llm.base_model.model.model.layers."


def linear(rows, columns):
    return {"weight": (rows, columns), "bias": (rows,)}


def released_shapes():
    """Names and shapes as facts, section 5 list them, in small."""
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
    path = convert_lira(folder / "LIRA.pth", folder / "internvl", folder / "out")
    adapted = [f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")] + ["lm_head"]
    llm = {
        "type": InterleavedLLM,
        "llm": {"type": llama_from_internvl, "path": folder / "internvl"},
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
        expected = llama_from_internvl(merged).eval()(ids).logits
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
        convert_lira(folder / "LIRA.pth", folder / "internvl", folder / "out")


class Evil:
    def __reduce__(self):
        return print, ("run",)


def test_a_file_with_code_is_refused(folder, capsys):
    torch.save({"x": Evil()}, folder / "LIRA.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        convert_lira(folder / "LIRA.pth", folder / "internvl", folder / "out")
    assert "run" not in capsys.readouterr().out


def test_a_cut_off_file(folder):
    write_released(folder / "LIRA.pth")
    (folder / "LIRA.pth").write_bytes((folder / "LIRA.pth").read_bytes()[:-500])
    with pytest.raises(ValueError, match="is the download complete"):
        convert_lira(folder / "LIRA.pth", folder / "internvl", folder / "out")
