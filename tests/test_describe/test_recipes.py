"""Parameters of recipes without weights: against a model that has them, the published files, and the paper's numbers."""

import json
import math
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from mmengine.config import Config
from support.newer_transformers import needs_newer_transformers
from support.paths import CONFIGS, ROOT, config_path
from support.tiny_model import lira_config, tiny_tokenizer
from support.tiny_recipes import unformatted_configs

from lira_plugin.compat import newer_transformers
from lira_plugin.describe import describe_recipe, measure_recipe
from lira_plugin.models import LIRA

pytestmark = pytest.mark.slow

LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "lm_head"], "train_embeddings": True}


def tiny_recipe(tied=False):
    """A tiny LIRA in the form of a recipe, its LLM given by a config."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = lira_config(frozen=["pixel_encoder"], loss_weights={"projection": 1.0})
    sizes = {"vocab_size": 260, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": tied}
    llm = {"type": AutoModelForCausalLM.from_config, "config": {"type": LlamaConfig, **sizes}}
    return {
        **config,
        "type": LIRA,
        "tokenizer": {"type": tiny_tokenizer},
        "llm": {**config["llm"], "llm": llm, "lora": LORA, "gradient_checkpointing": True},
    }


@pytest.mark.parametrize("tied", [False, True])
def test_counts_are_those_of_the_real_model(tied):
    recipe = tiny_recipe(tied)
    measured = measure_recipe(recipe)
    arguments = {key: value for key, value in recipe.items() if key != "type"}
    real = LIRA(**arguments)
    for name, part in measured.parts.items():
        parameters = list(getattr(real, name).parameters())
        assert part.total == sum(p.numel() for p in parameters), name
        assert part.trainable == sum(p.numel() for p in parameters if p.requires_grad), name
    assert measured.total == sum(p.numel() for p in real.parameters())
    assert measured.trainable == sum(p.numel() for p in real.parameters() if p.requires_grad)
    assert measured.parts["pixel_encoder"].trainable == 0
    assert all(p.is_meta for p in measured.model.parameters()), "nothing was allocated"
    assert not measured.notes


def test_an_absent_tokenizer_is_assumed_and_said(tmp_path):
    recipe = tiny_recipe()
    whole = measure_recipe(recipe)

    def absent():
        raise FileNotFoundError(f"no tokenizer at {tmp_path}")

    measured = measure_recipe({**recipe, "tokenizer": {"type": absent}})
    (note,) = measured.notes
    assert "264 tokens" in note, "the vocabulary of the LLM's config, and four special tokens"
    assert str(tmp_path) in note
    assert measured.base == whole.base, "the base has no new tokens"


@pytest.fixture(scope="module")
def describe(tmp_path_factory):
    """Describe a full-size recipe where none of its files exists."""
    done = {}

    def describe(name):
        if name not in done:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LIRA_WEIGHTS", str(tmp_path_factory.mktemp("nothing")))
                done[name] = describe_recipe(Config.fromfile(config_path(name)))
        return done[name]

    return describe


def test_internvl2_2b_has_the_parameters_of_the_published_file(describe):
    lines = (ROOT / "tests" / "data" / "internvl2_2b_keys.txt").read_text().splitlines()
    shapes = [line[line.index("[") + 1 : line.rindex("]")].split(",") for line in lines if "[" in line]
    assert sum(math.prod(map(int, shape)) for shape in shapes) == 2_205_754_368
    assert describe("lira_2b")["base"] == 2_205_754_368


def test_2b_trains_what_the_paper_trains(describe):
    """Facts, section 4: adapters 138 M, embeddings and head 379 M, projector 54.6 M, state projection 1.3 M."""
    described = describe("lira_2b")
    rows, width, rank, wide, fused, layers = 92553 + 6, 2048, 128, 8192, 4096, 24
    linears = [(width, fused), (width, width), (width, wide), (width, wide), (wide, width)]
    adapters = layers * sum(rank * (source + target) for source, target in linears) + rank * (width + rows)
    assert described["parts"]["llm"]["trainable"] == adapters + 2 * rows * width
    assert adapters == pytest.approx(138e6, rel=0.01)
    assert described["parts"]["sefe"] == {"total": 54_560_768, "trainable": 54_560_768}
    projections = (512 * 6144 + 6144) + (6144 + 6656) * width + 2 * (width * width + 2 * width) + 2 * width
    attention = 4 * (width * width + width) + 4 * width
    assert projections + attention == 54_560_768
    assert described["parts"]["mask_decoder"]["trainable"] == width * 512 + 512 + 512 * 512 + 512
    assert described["trainable"] == pytest.approx(573e6, rel=0.005)
    assert {name for name, part in described["parts"].items() if not part["trainable"]} == {
        "semantic_encoder",
        "pixel_encoder",
    }


def test_an_own_decoder_is_trained_beside_what_the_paper_trains(describe):
    """A copy of the segmenter's nine layers, norm and mask embedding; the segmenter itself stays frozen."""
    shared, own = describe("lira_2b"), describe("lira_2b_own_decoder")
    width, wide = 256, 2048
    attention, norm = 4 * (width * width + width), 2 * width
    layer = 2 * attention + width * wide + wide + wide * width + width + 3 * norm
    copied = 9 * layer + norm + 3 * (width * width + width)
    extra = {
        key: own["parts"]["mask_decoder"][key] - shared["parts"]["mask_decoder"][key] for key in ("total", "trainable")
    }
    assert extra == {"total": copied, "trainable": copied}
    assert own["trainable"] - shared["trainable"] == own["total"] - shared["total"] == copied
    assert own["parts"]["pixel_encoder"] == shared["parts"]["pixel_encoder"]


def test_8b_trains_what_the_paper_trains(describe):
    described = describe("lira_8b")
    assert described["trainable"] == pytest.approx(1.55e9, rel=0.005)
    assert described["parts"]["sefe"]["trainable"] == pytest.approx(156e6, rel=0.01)


def test_qwen2_vl_2b_has_the_parameters_of_the_published_file(describe):
    """The six new tokens find rows that the embedding has to spare."""
    described = describe("lira_qwen2_1_5b")
    assert described["base"] == 2_208_985_600
    (note,) = described["notes"]
    assert "151663 tokens" in note
    width, keys, wide, rank = 1536, 256, 8960, 128
    linears = [
        (width, width),
        (width, keys),
        (width, keys),
        (width, width),
        (width, wide),
        (width, wide),
        (wide, width),
    ]
    adapters = 28 * sum(rank * (source + target) for source, target in linears)
    assert described["parts"]["llm"]["trainable"] == adapters + 151936 * width


def test_internvl3_2b_has_the_parameters_of_the_published_file(describe):
    """The published embedding has no rows to spare: six new tokens make it longer, in embedding and head."""
    described = describe("lira_internvl3_2b")
    assert described["base"] == 2_088_957_440
    assert described["sequence"]["images"]["640x480"]["total"] == 2350
    (note,) = described["notes"]
    assert "151680 tokens" in note


@pytest.mark.parametrize(
    ("name", "base", "words"),
    [
        ("lira_internvl3_5_1b", 1_060_897_792, 151_684),
        ("lira_qwen2_5_vl_3b", 3_754_622_976, 151_671),
        ("lira_qwen3_vl_2b", 2_127_532_032, 151_675),
    ],
)
@needs_newer_transformers
def test_the_newest_bases_have_the_parameters_of_the_published_files(describe, name, base, words):
    """Six new tokens find rows that the embedding has to spare; tiles have 256 tokens everywhere."""
    described = describe(name)
    assert described["base"] == base
    assert described["sequence"]["images"]["640x480"]["total"] == 2350
    (note,) = described["notes"]
    assert f"{words} tokens" in note


@pytest.mark.parametrize("name", ["lira_internvl3_5_1b", "lira_qwen2_5_vl_3b", "lira_qwen3_vl_2b_pretrain"])
def test_without_its_transformers_a_base_names_the_second_environment(monkeypatch, name):
    """Whatever is installed: an older version has no such module."""
    monkeypatch.setattr(newer_transformers, "import_module", lambda module: SimpleNamespace())
    with pytest.raises(ImportError, match=r"needs transformers >= 4\.57.*uv run --project envs/modern"):
        describe_recipe(Config.fromfile(config_path(name)))


@pytest.mark.parametrize(
    "name",
    [
        "lira_2b_pretrain",
        "lira_2b",
        "lira_2b_own_decoder",
        "lira_8b_pretrain",
        "lira_8b",
        "lira_qwen2_1_5b_pretrain",
        "lira_qwen2_1_5b",
    ],
)
def test_the_sizes_in_the_table_and_in_the_metafile(describe, name):
    described = describe(name)
    total, trainable = described["total"], described["trainable"]
    row = next(
        line for line in (CONFIGS / "lira" / "README.md").read_text().splitlines() if line.startswith(f"| `{name}` |")
    )
    assert f"| {total:,} | {trainable:,} |" in row
    models = {
        model["Name"]: model for model in yaml.safe_load((CONFIGS / "lira" / "metafile.yml").read_text())["Models"]
    }
    if name in models:
        assert models[name]["Metadata"] == {"Parameters": total, "Trained Parameters": trainable}
        assert (ROOT / models[name]["Config"]).is_file()
        assert all(entry["Source"] == "paper" for entry in models[name]["Reported"])


def test_the_sum_of_a_recipe_with_4_bits_counts_them_so(describe):
    """LLM linears of 24 layers take 0.5 bytes and a scale of 4 bytes for 64; all else is as with AMP."""
    described, whole = describe("lira_2b_qlora"), describe("lira_2b")
    width, wide = 2048, 8192
    linears = 24 * (2 * width * width + 2 * width * width // 2 + 3 * width * wide)
    weights = 4 * (described["total"] - linears) + (0.5 + 4 / 64) * linears
    assert described["memory_gb"]["amp"]["1"]["weights"] == pytest.approx(weights / 1e9, rel=1e-3)
    assert described["memory_gb"]["amp"]["1"]["total"] < 12 < whole["memory_gb"]["amp"]["1"]["total"]
    assert described["base"] == whole["base"]


def test_answering_takes_the_weights_in_bf16_and_a_cache(describe):
    """InternLM2-1.8B has 24 layers with 8 key heads of 128."""
    described = describe("lira_2b")
    cache = 2 * 24 * 8 * 128 * 2 * described["sequence"]["length"]
    assert described["inference_gb"] == {
        "weights": pytest.approx(2 * described["total"] / 1e9, abs=1e-3),
        "cache": pytest.approx(cache / 1e9, abs=1e-3),
    }


@pytest.mark.parametrize("name", ["lira_2b_pretrain", "lira_8b_pretrain", "lira_qwen2_1_5b_pretrain"])
def test_pretrain_trains_the_projectors_alone(describe, name):
    described = describe(name)
    assert {part for part, size in described["parts"].items() if size["trainable"]} == {"sefe", "mask_decoder"}
    assert described["sequence"]["images"]["640x480"]["semantic"] == 0


def test_lengths_and_memory_of_the_finetune(describe):
    described = describe("lira_2b")
    assert described["sequence"]["images"]["640x480"]["total"] == 2350
    assert described["sequence"]["length"] == 2350 + 256 + 3 * 256
    memory = described["memory_gb"]
    assert memory["amp"]["1"]["weights"] == pytest.approx(4 * described["total"] / 1e9, rel=1e-3)
    assert memory["zero2"]["8"]["optimizer"] == pytest.approx(12 * described["trainable"] / 8e9, rel=1e-2)
    totals = [memory[name]["8"]["total"] for name in ("amp", "zero1", "zero2", "zero3")]
    assert totals == sorted(totals, reverse=True)


def test_a_recipe_that_was_written_out_is_the_same_and_without_ilvc_has_no_views(describe, tmp_path, monkeypatch):
    """MMEngine writes types as dotted paths into a work dir."""
    monkeypatch.setenv("LIRA_WEIGHTS", str(tmp_path))
    with unformatted_configs():
        Config.fromfile(config_path("lira_2b_no_ilvc")).dump(tmp_path / "recipe.py")
    written, whole = describe_recipe(Config.fromfile(tmp_path / "recipe.py")), describe("lira_2b")
    assert written["parts"] == whole["parts"] and written["base"] == whole["base"]
    assert written["sequence"]["length"] == 2350 + 256


def test_a_stage_that_learns_queries_has_views_and_an_llm_need_not_share_its_keys(tmp_path, monkeypatch):
    """The tiny pretrain decodes no masks; GPT-NeoX has no key heads beside its heads."""
    from transformers import GPTNeoXConfig

    monkeypatch.setenv("LIRA_TINY_ROOT", str(tmp_path))
    config = Config.fromfile(config_path("lira_tiny_pretrain"))
    llama = describe_recipe(config, regions=2)
    assert llama["sequence"]["regions"] == 2
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
    config.model.llm.llm.config = {"type": GPTNeoXConfig, "vocab_size": 700, **sizes}
    assert describe_recipe(config, regions=2)["sequence"] == llama["sequence"]


def test_the_command_prints_a_report_and_writes_the_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LIRA_TINY_ROOT", str(tmp_path))
    config, out = config_path("lira_tiny"), tmp_path / "tiny.json"
    monkeypatch.setattr(
        sys, "argv", ["describe.py", str(config), "--json", str(out), "--sizes", "96x64", "--gpus", "1"]
    )
    runpy.run_path(str(ROOT / "tools" / "describe.py"), run_name="__main__")
    described, printed = json.loads(out.read_text()), capsys.readouterr().out
    assert {"total", "trainable", "parts", "sequence", "memory_gb"} <= described.keys()
    assert described == describe_recipe(Config.fromfile(config), sizes=[(64, 96)], gpus=[1])
    for name, part in described["parts"].items():
        assert any(
            line.split() == [name, f"{part['total']:,}", f"{part['trainable']:,}"] for line in printed.splitlines()
        )
    for engine in described["memory_gb"]:
        assert f"\n{engine} " in printed, "also where one GPU has nothing to share"


def test_the_pixel_encoder_is_omg_seg(describe):
    """21.0 M parameters of the published head, less those of parts that LIRA does not use, and ConvNeXt-L."""
    lines = Path(ROOT / "tests" / "data" / "omg_seg_head_keys.txt").read_text().splitlines()
    published = {line.split(" ")[0]: line[line.index("[") :] for line in lines}
    unused = ("iou_embed", "mask_tokens", "pb_embedding", "pos_linear")
    used = {name: shape for name, shape in published.items() if not name.split(".")[1].startswith(unused)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIRA_WEIGHTS", "/nonexistent")
        config = Config.fromfile(config_path("lira_2b")).model.pixel_encoder
    segmenter = measure_recipe(config).model.segmenter
    ours = {name: list(tensor.shape) for name, tensor in segmenter.state_dict().items()}
    classifier = ("cls_proj", "mask_pooling_proj")
    expected = {}
    for name, shape in used.items():
        name = name.removeprefix("panoptic_head.")
        expected[f"cls_embed.{name}" if name.startswith(classifier) else name] = shape
    assert {name: str(shape) for name, shape in ours.items() if not name.startswith("loss_")} == expected
    assert isinstance(segmenter, torch.nn.Module)
