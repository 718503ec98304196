"""The full-size recipes on twins: published layouts with random weights, and nothing of a recipe changed but sizes and paths.

One step of each stage, an answer, and the scores; the weights of the stages flow as they would for the published files.
"""

import json
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from support import newer_qwen_twins
from support.internvl_twin import TINY, tiny, write_internvl
from support.internvl_twins import Twin, write_twin
from support.newer_transformers import needs_newer_transformers
from support.paths import config_path
from support.process_state import process_state_restored
from support.qwen2_vl_twin import write_qwen2_vl

from lira_plugin.convert import convert_omg_seg, pack_model
from lira_plugin.datasets import fit_to_model
from lira_plugin.describe import measure_recipe
from lira_plugin.inference import LIRAInferencer
from lira_plugin.registry import MODELS
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.structures import decode_union

SIDE, TILE, DIMS, QUERIES = 128, TINY["image"]["image_size"], 16, 8
BACKBONE = {"depths": [1, 1, 1, 1], "dims": [4, 8, 12, 16]}
WIDTH = TINY["llm"]["hidden_size"]


@dataclass(frozen=True)
class Size:
    """A recipe's name, its published model, and the twin of that."""

    name: str
    variable: str
    origin: str
    write: Callable[[Path], object]
    learns: tuple[str, ...]
    """Parameters of the head."""
    tied: bool = False
    tile: int | None = None
    """Side of a tile, where the published settings do not say it."""


SIZES = [
    Size(
        "lira_2b",
        "LIRA_INTERNVL2_2B",
        "OpenGVLab/InternVL2-2B",
        # As published, no sequence is longer than the LLM was trained for: beyond that, its rope depends on what it read before.
        lambda folder: write_internvl(folder, tiny(max_position_embeddings=1024), shards=2),
        ("lm_head.base_layer", "lm_head.lora_B"),
    ),
    Size(
        "lira_internvl3_2b",
        "LIRA_INTERNVL3_2B",
        "OpenGVLab/InternVL3-2B",
        lambda folder: write_twin(folder, Twin(layout="hf", longest=1024)),
        ("lm_head.base_layer", "lm_head.lora_B"),
    ),
    Size(
        "lira_qwen2_1_5b",
        "LIRA_QWEN2_VL_2B",
        "Qwen/Qwen2-VL-2B-Instruct",
        write_qwen2_vl,
        ("lm_head.weight",),
        True,
        TILE,
    ),
    pytest.param(
        Size(
            "lira_internvl3_5_2b",
            "LIRA_INTERNVL3_5_2B",
            "OpenGVLab/InternVL3_5-2B",
            lambda folder: write_twin(folder, Twin("Qwen3")),
            ("lm_head.base_layer", "lm_head.lora_B"),
        ),
        marks=needs_newer_transformers,
    ),
    *(
        pytest.param(
            Size(
                f"lira_{kind}_{size.lower()}",
                f"LIRA_{kind.upper()}_{size}",
                f"Qwen/{name}-{size}-Instruct",
                partial(newer_qwen_twins.write, kind=kind),
                ("lm_head.weight",),
                True,
                newer_qwen_twins.TILES[kind],
            ),
            marks=needs_newer_transformers,
        )
        for kind, name, size in (("qwen2_5_vl", "Qwen2.5-VL", "3B"), ("qwen3_vl", "Qwen3-VL", "2B"))
    ),
]


def shrink(config, files, tile):
    """Sizes and paths alone; bf16 autocast is CUDA's, so the wrapper is the plain one."""
    pixels, objects = 4 * BACKBONE["dims"][-1] + 2 * DIMS, 2 * DIMS
    attention, ffn = {"embed_dims": DIMS, "num_heads": 2}, {"embed_dims": DIMS, "feedforward_channels": 32}
    positions = {"num_feats": DIMS // 2}
    config.merge_from_dict(
        {
            "model": {
                "pixel_encoder": {
                    "image_size": SIDE,
                    "backbone": BACKBONE,
                    "segmenter": {
                        "in_channels": BACKBONE["dims"],
                        "feat_channels": DIMS,
                        "out_channels": DIMS,
                        "num_queries": QUERIES,
                        "classifier": {"class_embeddings": {"channels": 12}},
                        "pixel_decoder": {
                            "norm_cfg": {"num_groups": 4},
                            "encoder": {"num_layers": 1, "layer_cfg": {"self_attn_cfg": attention, "ffn_cfg": ffn}},
                            "positional_encoding": positions,
                        },
                        "positional_encoding": positions,
                        "transformer_decoder": {
                            "num_layers": 3,
                            "layer_cfg": {"self_attn_cfg": attention, "cross_attn_cfg": attention, "ffn_cfg": ffn},
                        },
                    },
                },
                "sefe": {
                    "pixel_channels": pixels,
                    "object_channels": objects,
                    "hidden_size": WIDTH,
                    "query_channels": 4 * BACKBONE["dims"][-1],
                    "num_heads": 4,
                },
                "mask_decoder": {"hidden_size": WIDTH, "query_channels": DIMS, "num_points": 64},
                "generation": {"max_new_tokens": 6},
            }
        }
    )
    if "lora" in config.model.llm:
        config.model.llm.lora.update(r=2, lora_alpha=4)
    for name in ("train_dataloader", "test_dataloader"):
        if config.get(name) is not None:
            config[name].update(num_workers=0, persistent_workers=False, batch_size=2)
    if tile:  # InternViT's tiles are of the size in its config
        config.model.semantic_encoder.tile_size = tile
    move_data(config, files)
    config.optim_wrapper.type = "OptimWrapper"
    del config.optim_wrapper["dtype"]
    return config


def move_data(config, files):
    """The recipe's own entries, on the files of the scenes; scenes have no second file of a format."""
    places = {
        "pretrain": {"ann_file": f"{files}/llava/scenes_train.json", "image_root": f"{files}/images"},
        "vqa": {"ann_file": f"{files}/llava/scenes_train.json", "image_root": f"{files}/images"},
        "refcoco": {"data_root": str(files), "image_root": f"{files}/images"},
        "gcg/GranDf_HA": {"ann_file": f"{files}/grandf/scenes_GCG_train.json", "image_root": f"{files}/images"},
    }
    for name in ("train_dataloader", "test_dataloader"):
        if config.get(name) is None:
            continue
        dataset = config[name].dataset
        kept = []
        for entry in dataset.datasets:
            place = places.get(entry.get("source") or entry["dataset"])
            if place:
                entry.update(place)
                if name == "train_dataloader":
                    entry.update(repeats=40)  # long enough for a warm-up of 3 %
                kept.append(entry)
        dataset.datasets = kept


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: size.name)
def world(request, tmp_path_factory):
    """Folders in the published layouts, and the environment variables that name them."""
    size, root = request.param, tmp_path_factory.mktemp("twin")
    files = write_scenes(root / "data", 6, 2, progress=False)
    size.write(root / "published")
    torch.manual_seed(0)
    torch.save(torch.nn.functional.normalize(torch.randn(133, 2, 12), dim=-1), root / "classes.pth")
    with process_state_restored(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIRA_ROOT", str(root / "work"))
        patch.setenv(size.variable, str(root / "published"))
        patch.setenv("LIRA_CLASS_EMBEDDINGS", str(root / "classes.pth"))
        patch.setenv("LIRA_OMG_SEG", str(root / "omg_seg" / "model.safetensors"))

        def recipe(stage=""):
            return shrink(Config.fromfile(config_path(f"{size.name}{stage}")), files.root, size.tile)

        write_omg_seg(recipe().model.pixel_encoder, root)
        yield recipe, size


def write_omg_seg(config, root):
    """A random ``omg_seg_convl.pth`` of these sizes, converted as a user would."""
    encoder = MODELS.build({**config})
    published = {}
    for name, tensor in encoder.state_dict().items():
        name = name.replace("segmenter.", "panoptic_head.", 1).replace("cls_embed.", "", 1)
        name = name.replace("backbone.stem_", "backbone.stem.")
        for stage in range(4):
            name = name.replace(f"backbone.stages_{stage}.", f"backbone.layer{stage + 1}.")
        if ".loss_" not in name:
            published[name] = tensor
    torch.save({"state_dict": published}, root / "omg_seg_convl.pth")
    convert_omg_seg(config, root / "omg_seg_convl.pth", root / "omg_seg")


def run(config, name, iters=3):
    """Train in this process; return the last losses and the runner. The rate is next to nothing in the first iteration."""
    config.experiment_name = name
    config.train_cfg.pop("max_epochs")
    config.train_cfg.max_iters = iters
    config.optim_wrapper.accumulative_counts = 1
    config.default_hooks.logger.interval = 1
    runner = Runner.from_cfg(config)
    runner.train()
    (log,) = Path(config.work_dir).glob("*/vis_data/scalars.json")
    return json.loads(log.read_text().splitlines()[-1]), runner


def evaluate(config, name, forced):
    """What ``xtuner test`` does with the last checkpoint; returns the scores and the rows that they are made of.

    Forced, answers have a mask, which a model of three steps would not say by itself.
    """
    config.experiment_name = name
    config.test_dataloader.dataset.pipeline.interleave.force_regions = forced
    config.test_evaluator.dump = f"{config.work_dir}/{name}.json"
    runner = Runner.from_cfg(config)
    checkpoint = Path(config.work_dir, "last_checkpoint").read_text()
    runner.model.load_state_dict(torch.load(checkpoint, weights_only=False)["state_dict"], strict=False)
    return runner.test(), json.loads(Path(config.test_evaluator.dump).read_text())


def sentences_by_source(config):
    """What the evaluation is about, from the files."""
    refs = pickle.loads(Path(config.test_dataloader.dataset.datasets[0].data_root, "refcoco/refs(unc).p").read_bytes())
    splits = ("val", "testA", "testB")
    return Counter(f"refcoco/{ref['split']}" for ref in refs for _ in ref["sentences"] if ref["split"] in splits)


def test_pretrain_finetune_an_answer_and_scores(world):
    recipe, size = world
    row, pretrained = run(recipe("_pretrain"), "twin_pretrain")
    assert {"loss_llm", "loss_projection"} <= set(row) and "loss_mask" not in row and row["loss"] > 0
    trained = {name.split(".")[0] for name, p in pretrained.model.named_parameters() if p.requires_grad}
    assert trained == {"sefe", "mask_decoder"}
    saved = pretrained.model.state_dict()
    assert {name.split(".")[0] for name in saved} == {"sefe", "mask_decoder"}, "a checkpoint holds what was trained"

    config = recipe()
    config.train_dataloader.dataset.datasets = config.train_dataloader.dataset.datasets[1:]  # with masks
    model = MODELS.build(config.model)
    torch.testing.assert_close(model.sefe.state_dict()["query_proj.weight"], saved["sefe.query_proj.weight"])
    row, runner = run(config, "twin")
    assert {"loss_llm", "loss_mask", "loss_dice"} <= set(row) and row["loss_mask"] > 0
    after = runner.model
    moved = {
        name
        for (name, old), new in zip(model.state_dict().items(), after.state_dict().values(), strict=True)
        if not torch.equal(old, new)
    }
    for part in ("lora_B", "embed_tokens", *size.learns, "sefe.enrich", "sefe.pixel_proj", "state_proj"):
        assert any(part in name for name in moved), f"{part} learns"
    assert torch.equal(after.pixel_encoder.segmenter.query_feat.weight, model.pixel_encoder.segmenter.query_feat.weight)

    config.test_dataloader.dataset.pipeline.interleave.force_regions = True
    loader = runner.build_dataloader(config.test_dataloader)
    fit_to_model(loader.dataset, after.input_spec)
    batch = next(iter(loader))
    after.eval()
    answers = after(**batch, mode="predict")
    assert len({sample.image_key for sample in batch["data_samples"]}) == 1 < len(answers), "the sentences of an image"
    assert len(answers) == len(batch["data_samples"]) and all(isinstance(answer.text, str) for answer in answers)
    assert {sample.source for sample in batch["data_samples"]} <= {"refcoco/val"}
    check_scores(recipe, list(zip(batch["data_samples"], answers)))

    model.load_state_dict(after.state_dict())
    restored = model.state_dict()
    assert all(torch.equal(restored[name], value) for name, value in after.state_dict().items()), "tied weights too"
    assert (model.llm.causal_lm.lm_head.weight is model.llm.causal_lm.model.embed_tokens.weight) is size.tied
    check_packed(recipe(), config.work_dir, size)


def check_packed(config, work_dir, size):
    """One folder answers as recipe, checkpoint and published files together."""
    config.model.init_from = config.model.init_from[:1]  # the checkpoint has what both stages trained
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    question, folder = "Please segment red circle.", Path(work_dir).parent / "packed"
    before = LIRAInferencer(config, work_dir, "cpu", show_progress=False)
    pack_model(config, work_dir, folder)
    text = (folder / "config.json").read_text()
    assert "published" not in text and "obtain" not in text and size.origin in (folder / "README.md").read_text()
    after = LIRAInferencer(folder, device="cpu", show_progress=False)
    for forced in (False, True):
        (one,), (other,) = (lira(image, question, force=forced, return_logits=True) for lira in (before, after))
        assert one.text == other.text and len(one.spans) == len(other.spans) >= forced
        assert all(np.array_equal(a.logits, b.logits) for a, b in zip(one.spans, other.spans))


def check_scores(recipe, answered):
    """The scores of the recipe's own evaluation are about every sentence, and about the answers of the trained model."""
    sentences = sentences_by_source(recipe())
    scores, rows = evaluate(recipe(), "twin_test", forced=False)
    assert Counter(row["source"] for row in rows) == sentences and len(sentences) == 3
    for source in sentences:
        names = {name.removeprefix(f"{source}/") for name in scores if name.startswith(source)}
        views = {f"{view}/{name}" for view in ("refined", "coarse") for name in ("cIoU", "gIoU", "P@0.5", "P@0.9")}
        assert views | {"missing_seg"} <= names
        missing = [row["missing_seg"] for row in rows if row["source"] == source]
        assert scores[f"{source}/missing_seg"] == pytest.approx(np.mean(missing))
    assert all(0 <= value <= 1 for value in scores.values())

    scores, rows = evaluate(recipe(), "twin_test_forced", forced=True)
    assert len(rows) == sentences.total() and not any(row["missing_seg"] for row in rows)
    assert all(scores[f"{source}/refined/cIoU"] > 0 for source in sentences)
    by_question = {(row["record_id"], row["question"]): row for row in rows}
    for sample, answer in answered:
        truth = decode_union(sample.regions[0].segmentations, *sample.image.shape[:2])
        mask = np.asarray(answer.spans[0].mask_of("refined"))
        row = by_question[sample.record_id, sample.question]
        assert (row["refined_I"], row["refined_U"]) == ((mask & truth).sum(), (mask | truth).sum())


def test_description_and_model_agree(world):
    recipe, _ = world
    config = recipe()
    config.model.init_from = config.model.init_from[:1]
    measured, real = measure_recipe(config.model), MODELS.build(config.model)
    assert not measured.notes, "the tokenizer is there"
    assert measured.total == sum(p.numel() for p in real.parameters())
    assert measured.trainable == sum(p.numel() for p in real.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        (None, None),
        ("LIRA_OMG_SEG", "convert_checkpoint.py omg-seg"),
        ("LIRA_CLASS_EMBEDDINGS", "zhangtao-whu/OMG-LLaVA and set LIRA_CLASS_EMBEDDINGS"),
    ],
    ids=["published", "omg_seg", "class_embeddings"],
)
def test_a_missing_file_is_named_with_its_variable_and_origin(world, monkeypatch, tmp_path, variable, words):
    recipe, size = world
    variable, words = variable or size.variable, words or f"{size.origin} and set {size.variable}"
    monkeypatch.setenv(variable, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError) as caught:
        MODELS.build(recipe("_pretrain").model)
    assert str(tmp_path / "nowhere") in str(caught.value)
    assert words in str(caught.value) and variable in str(caught.value)
    assert "docs/weights.md" in str(caught.value)
