"""The finetune recipe itself: it trains, and goes on after an interruption as if there had been none."""

import json
import os
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from support.paths import ROOT, config_path
from support.process_state import process_state_restored
from support.processes import on_two_processes, without_compiled_gloo

from lira_plugin.datasets import GroundedLinesDataset
from lira_plugin.hooks import GroundingVisualizationHook
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer
from lira_plugin.structures import decode_segmentation


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipe")
    write_scene_tokenizer(write_scenes(root / "data", 24, 2, progress=False))
    return root


@pytest.fixture(autouse=True)
def own_globals():
    """A Runner leaves names and a scope behind; give the next test the former ones."""
    with process_state_restored():
        yield


def recipe(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("LIRA_TINY_ROOT", str(root))
    return Config.fromfile(config_path(name))


def runner(config: Config, work_dir: Path, iters: int, resume: Path | None = None, batch: int = 4) -> Runner:
    """A runner of ``iters`` small iterations that keeps the checkpoint of every second and draws no pictures."""
    config = config.copy()
    config.custom_hooks = [hook for hook in config.custom_hooks if hook["type"] is not GroundingVisualizationHook]
    config.work_dir = str(work_dir)
    config.experiment_name = work_dir.name
    config.train_cfg.max_iters = iters
    config.train_dataloader.batch_size = batch
    config.train_dataloader.num_workers = 0
    config.train_dataloader.persistent_workers = False
    config.default_hooks.checkpoint.update(interval=2, max_keep_ckpts=-1)
    config.default_hooks.logger.interval = 1
    config.log_processor.window_size = 1
    if resume is not None:
        config.load_from, config.resume = str(resume), True
    return Runner.from_cfg(config)


class Killed(Exception):
    """The end of a training that was planned to be longer."""


class Kill(Hook):
    """Kill the training before the iteration of this index."""

    def __init__(self, index: int) -> None:
        self.index = index

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        if runner.iter == self.index:
            raise Killed


def train(
    config: Config, work_dir: Path, iters: int, resume: Path | None = None, batch: int = 4, killed: int = -1
) -> list[dict]:
    """Train from nothing; return the losses."""
    config.model["init_from"] = []
    training = runner(config, work_dir, iters, resume, batch)
    training.register_hook(Kill(killed))
    with pytest.raises(Killed) if killed >= 0 else nullcontext():
        training.train()
    return written_losses(work_dir)


def written_losses(work_dir: Path) -> list[dict]:
    rows = [json.loads(line) for path in work_dir.glob("*/vis_data/scalars.json") for line in path.open()]
    rows = [row for row in rows if "loss" in row]  # others are scores of pictures
    names = ("loss", "loss_llm", "loss_mask", "loss_dice", "loss_projection")
    return [{name: row[name] for name in names} for row in sorted(rows, key=lambda row: row["iter"])]


@pytest.mark.parametrize(
    ("name", "iters", "resumed"), [("lira_tiny", 14, ((2, 5), (12, 14))), ("lira_tiny_own_decoder", 4, ((2, 4),))]
)
def test_a_resumed_finetune_has_the_losses_of_the_uninterrupted_one(root, tmp_path, monkeypatch, name, iters, resumed):
    """Early, and after the optimizer has turned its basis, which it does every tenth step."""
    config = recipe(root, name, monkeypatch)
    whole = train(config, tmp_path / "whole", iters)
    assert len(whole) == iters and whole[0]["loss_mask"] > 0
    for first, end in resumed:
        checkpoint, folder = tmp_path / "whole" / f"iter_{first}.pth", tmp_path / f"from_{first}"
        rest = train(config, folder, iters, resume=checkpoint, killed=end if end < iters else -1)
        assert rest == whole[first:end]


def test_nan_neither_spoils_the_finetune_nor_its_checkpoints(root, tmp_path, monkeypatch):
    """One bad batch is left out; weights that turn NaN end the training, which goes on from the checkpoint before."""
    from lira_plugin.models import LIRA

    def spoil(at: int, spoiling) -> pytest.MonkeyPatch:
        calls, loss = [], LIRA.loss

        def spoilt(model, batch, data_samples=None):
            calls.append(data_samples)
            losses = loss(model, batch, data_samples)
            return spoiling(model, losses) if len(calls) == at else losses

        patch = pytest.MonkeyPatch()
        patch.setattr(LIRA, "loss", spoilt)
        return patch

    config = recipe(root, "lira_tiny", monkeypatch)
    whole = train(config, tmp_path / "whole", 4, batch=2)
    patch = spoil(3, lambda model, losses: losses | {"loss_mask": losses["loss_mask"] * float("nan")})
    losses = train(config, tmp_path / "batch", 4, batch=2)
    patch.undo()
    assert losses[:2] == whole[:2] and np.isnan(losses[2]["loss_mask"])
    assert all(np.isfinite(list(row.values())).all() for row in losses[3:])
    log = "".join(path.read_text() for path in (tmp_path / "batch").glob("*/*.log"))
    assert re.search(r"iteration 3: the loss is not finite in the batch of \S+ record \S+.*1 left out, 1 in a row", log)
    state = torch.load(tmp_path / "batch" / "iter_4.pth", weights_only=False)["state_dict"]
    assert all(tensor.isfinite().all() for tensor in state.values())

    def turn_nan(model, losses):
        with torch.no_grad():
            model.sefe.get_parameter(next(name for name, _ in model.sefe.named_parameters())).fill_(torch.nan)
        return losses

    patch = spoil(3, turn_nan)
    with pytest.raises(FloatingPointError, match=r"checkpoint of iteration 4 holds values.* sefe\."):
        train(config, tmp_path / "weights", 4, batch=2)
    patch.undo()
    assert [path.name for path in (tmp_path / "weights").glob("*.pth")] == ["iter_2.pth"]
    again = train(config, tmp_path / "again", 4, resume=tmp_path / "weights" / "iter_2.pth", batch=2)
    assert again == whole[2:]


def train_on_rank(rank: int, config: Config, work_dir: Path) -> list[dict]:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    config.launcher = "pytorch"
    return train(config, work_dir, 3, batch=2)


@pytest.fixture(scope="module")
def on_two(root, tmp_path_factory):
    """What three iterations of the recipe on two processes log, and their work dir."""
    with pytest.MonkeyPatch.context() as patch:
        work_dir = tmp_path_factory.mktemp("on_two") / "run"
        return on_two_processes(train_on_rank, recipe(root, "lira_tiny", patch), work_dir), work_dir


def test_two_processes_train_the_recipe_as_one_does(root, on_two, tmp_path, monkeypatch):
    """What is random is drawn by each process, which leaves the language and projection losses of the first step."""
    config = recipe(root, "lira_tiny", monkeypatch)
    one = train(config, tmp_path / "one", 3, batch=4)
    (two, _), work_dir = on_two
    assert len(two) == 3
    for name in ("loss_llm", "loss_projection"):
        assert two[0][name] == pytest.approx(one[0][name], rel=1e-5)
    assert all(a["loss"] == pytest.approx(b["loss"], rel=0.05) for a, b in zip(one, two))
    saved = [torch.load(run / "iter_3.pth", weights_only=False)["state_dict"] for run in (tmp_path / "one", work_dir)]
    assert saved[0].keys() == saved[1].keys() and not any(
        name.startswith(("pixel_encoder", "semantic_encoder")) for name in saved[0]
    )


def test_features_on_disk_change_no_loss_on_two_processes(root, on_two, tmp_path, monkeypatch):
    config = recipe(root, "lira_tiny", monkeypatch)
    plain, _ = on_two
    config.merge_from_dict(
        {"model.semantic_encoder.feature_cache.root": str(tmp_path / "features")}
    )  # as docs/train.md has it
    for name in ("first", "again"):
        kept = on_two_processes(train_on_rank, config.copy(), tmp_path / name)
        assert kept[0] == plain[0] and len(plain[0]) == 3
    assert any((tmp_path / "features").rglob("*.safetensors"))


def run_xtuner(rank: int, arguments: list[str]) -> None:
    """``xtuner train`` as each process of its launcher runs it."""
    from xtuner.tools import train as command

    without_compiled_gloo()
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    sys.argv = ["train.py", *arguments, "--launcher", "pytorch"]
    command.main()


class Stages(NamedTuple):
    """What the stages before a finetune leave, with random weights: the folder, and the weights of the pretrain."""

    root: Path
    pretrained: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def stages(root, tmp_path_factory):
    from lira_plugin.registry import MODELS

    folder = tmp_path_factory.mktemp("stages")
    (folder / "data").symlink_to(root / "data")
    torch.manual_seed(11)
    with pytest.MonkeyPatch.context() as patch:
        pretrain = recipe(folder, "lira_tiny_pretrain", patch)
    pretrain.model["init_from"] = []
    model = MODELS.build(pretrain.model)
    semantic = {f"semantic_encoder.{name}": value for name, value in model.semantic_encoder.state_dict().items()}
    for name, state in (
        ("segmenter", model.pixel_encoder.state_dict()),
        ("semantic", semantic),
        ("pretrain", model.state_dict()),
    ):
        (folder / name).mkdir()
        torch.save({"state_dict": state}, folder / name / "iter_1.pth")
        (folder / name / "last_checkpoint").write_text(str(folder / name / "iter_1.pth"))
    return Stages(folder, model.state_dict())


@pytest.mark.parametrize("stage", [2, 3])
def test_xtuner_trains_and_resumes_under_deepspeed(stages, tmp_path, monkeypatch, stage):
    """The commands of docs/train.md."""
    monkeypatch.setenv("LIRA_TINY_ROOT", str(stages.root))

    def losses(name: str, *more: str) -> list[dict]:
        options = [
            "train_cfg.max_iters=3",
            "train_dataloader.batch_size=2",
            "default_hooks.logger.interval=1",
            "default_hooks.checkpoint.interval=2",
            "log_processor.window_size=1",
        ]
        deepspeed = ROOT / "configs" / "lira" / "deepspeed" / f"zero{stage}_fp32.json"
        config = config_path("lira_tiny_lora")
        command = [str(config), "--work-dir", str(tmp_path / name), "--deepspeed", str(deepspeed), *more]
        on_two_processes(run_xtuner, [*command, "--cfg-options", *options])
        return written_losses(tmp_path / name)

    whole = losses("whole")
    assert len(whole) == 3 and all(row["loss_mask"] > 0 for row in whole)
    assert losses("resumed", "--resume", str(tmp_path / "whole" / "iter_2.pth")) == whole[2:]


def test_masks_of_ones_own_are_learnt_and_scored(root, tmp_path, monkeypatch):
    """docs/own_data.md, with scenes as one's own images: their COCO files name each object by a phrase."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "images").symlink_to(root / "data" / "images")
    for split in ("train", "val"):
        content = json.loads((root / "data" / "coco" / f"instances_{split}.json").read_text())
        (own / f"{split}.json").write_text(json.dumps(content))
    monkeypatch.setenv("LIRA_OWN_DATA", str(own))
    config = recipe(root, "lira_tiny_own", monkeypatch)
    losses = train(config, tmp_path / "trained", 3, batch=2)
    assert len(losses) == 3 and all(row["loss_mask"] > 0 for row in losses)
    config.model["init_from"] = []
    config.model.generation.update(max_new_tokens=4)
    config.test_dataloader.dataset.datasets = config.test_dataloader.dataset.datasets[:1]
    config.work_dir, config.experiment_name = str(tmp_path / "tested"), "tested"
    scores = Runner.from_cfg(config).test()
    assert 0 <= scores["own/val/refined/cIoU"] <= 1


def test_questions_and_masks_of_ones_own_lines_are_learnt(root, tmp_path, monkeypatch):
    """The JSON Lines of docs/own_data.md, each with a mask of a file, in place of the COCO file."""
    content = json.loads((root / "data" / "coco" / "instances_train.json").read_text())
    images = {image["id"]: image for image in content["images"]}
    lines = []
    for annotation in content["annotations"][:4]:
        image = images[annotation["image_id"]]
        mask = decode_segmentation(annotation["segmentation"], image["height"], image["width"])
        cv2.imwrite(str(tmp_path / f"{annotation['id']}.png"), mask.astype("uint8") * 255)
        span = {"phrase": "red circle", "mask": f"{annotation['id']}.png"}
        path = str(root / "data" / "images" / image["file_name"])
        lines.append({"image": path, "question": "What is here?", "answer": "A red circle.", "spans": [span]})
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.setenv("LIRA_OWN_DATA", str(tmp_path))
    config = recipe(root, "lira_tiny_own", monkeypatch)
    lines = {"type": GroundedLinesDataset, "ann_file": str(tmp_path / "train.jsonl"), "source": "own/train", "share": 2}
    config.train_dataloader.dataset.datasets = [lines]
    config.train_dataloader.dataset.epoch_size = None
    config.test_dataloader.dataset.datasets = config.test_dataloader.dataset.datasets[1:]
    losses = train(config, tmp_path / "trained", 2, batch=2)
    assert len(losses) == 2 and all(row["loss_mask"] > 0 for row in losses)


def test_a_missing_stage_names_the_command(root, monkeypatch):
    from lira_plugin.registry import MODELS

    with pytest.raises(FileNotFoundError, match=r"xtuner train configs/lira_tiny/lira_tiny_segmenter\.py"):
        MODELS.build(recipe(root, "lira_tiny", monkeypatch).model)


def test_without_scenes_the_command_that_writes_them_is_named(tmp_path, monkeypatch):
    from lira_plugin.registry import DATASETS, MODELS

    for name, registry, part in (
        ("lira_tiny", MODELS, lambda config: config.model),
        ("lira_tiny_segmenter", DATASETS, lambda config: config.train_dataloader.dataset),
    ):
        with pytest.raises(FileNotFoundError, match=r"python tools/make_scenes\.py") as error:
            registry.build(part(recipe(tmp_path, name, monkeypatch)))
        assert str(tmp_path / "data") in str(error.value)


def test_a_recipe_that_spells_a_token_otherwise_than_its_tokenizer_is_refused(root, monkeypatch):
    from lira_plugin.registry import MODELS

    model = recipe(root, "lira_tiny", monkeypatch).model
    model.special_tokens.update(seg="[SEG]")
    with pytest.raises(ValueError, match=r"lacks the special tokens '\[SEG\]' .*'<seg>'"):
        MODELS.build(model)


def test_the_lora_recipe_adapts_the_pretrained_llm_and_its_checkpoint_gives_the_model_again(
    stages, tmp_path, monkeypatch
):
    from lira_plugin.inference import LIRAInferencer

    config = recipe(stages.root, "lira_tiny_lora", monkeypatch)
    trained = runner(config, tmp_path / "run", 2).train()
    plain = {
        name.replace("base_model.model.", "").replace("base_layer.", ""): p for name, p in trained.named_parameters()
    }
    adapters = {name: p for name, p in plain.items() if "lora_" in name}
    assert len(adapters) == 4 * 7 * 2, "A and B of seven projections in four layers"
    assert all(p.requires_grad and p.any() for p in adapters.values()), "B starts as zeros"
    base = {name: p for name, p in plain.items() if name.startswith("llm.") and name not in adapters}
    for name, parameter in base.items():
        in_full = name.endswith(("embed_tokens.weight", "lm_head.weight"))
        assert parameter.requires_grad == in_full
        assert torch.equal(parameter, stages.pretrained[name]) == (not in_full), name
    saved = torch.load(tmp_path / "run" / "iter_2.pth", weights_only=False)["state_dict"]
    assert set(saved) == {
        name for name in trained.state_dict() if not name.startswith(("pixel_encoder.", "semantic_encoder."))
    }
    assert len([name for name in saved if name.startswith("llm.")]) == len(adapters) + 2

    again = LIRAInferencer(config, tmp_path / "run").model
    whole, expected = (torch.nn.Module.state_dict(model) for model in (again, trained))
    assert whole.keys() == expected.keys() and all(torch.equal(whole[name], expected[name]) for name in expected)


def test_the_grefcoco_recipe_trains_on_and_scores_sentences_without_a_target(root, tmp_path, monkeypatch):
    from lira_plugin.registry import DATASETS

    config = recipe(root, "lira_tiny_grefcoco", monkeypatch)
    config.model["init_from"] = []
    config.model["generation"]["max_new_tokens"] = 8
    scores = runner(config, tmp_path / "run", 1).test()
    for view in ("refined", "coarse"):
        assert {"cIoU", "gIoU", "N-acc", "T-acc", "P@0.5", "gIoU_50px"} <= names_below(scores, f"grefcoco/val/{view}/")
        assert {"cIoU", "gIoU"} <= names_below(scores, f"refcoco/testB/{view}/")
        assert "N-acc" not in names_below(scores, f"refcoco/val/{view}/")
    assert {"MCC", "threshold", "gIoU"} <= names_below(scores, "grefcoco/val/presence/")
    written = json.loads((root / "lira_grefcoco" / "grefcoco.json").read_text())
    own = written["settings"]["data"]["grefcoco/val"]
    assert (own["per"], own["tiles"]) == ("sentence", [1, 4])
    assert {Path(path).name: len(digest) for path, digest in own["files"].items()} == {
        "grefs(unc).json": 64,
        "instances.json": 64,
    }
    assert len(written["presence"]["grefcoco/val"]["sweep"]) == 19
    assert written["presence"]["grefcoco/val"]["signals"] == 2, "masks' scores, and the first token's probability"
    data = DATASETS.build(config.train_dataloader.dataset)
    [part] = [part for part in data.datasets if part.source == "grefcoco/train"]
    rng = np.random.default_rng(0)
    turns = [turn for index in range(len(part)) for turn in part.get_record(index, rng).conversation.turns]
    assert {len(turn.spans) for turn in turns} == {0, 1}


def test_the_attreval_recipe_asks_both_parts_in_one_test(root, tmp_path, monkeypatch):
    config = recipe(root, "lira_tiny_attreval", monkeypatch)
    config.model["init_from"] = []
    config.model["generation"]["max_new_tokens"] = 8
    scores = runner(config, tmp_path / "run", 1).test()
    figures = {"pair_accuracy", "pair_accuracy_tolerant", "accuracy", "accuracy_tolerant", "yes_share", "pairs"}
    assert figures <= names_below(scores, "attreval/vqa/")
    assert figures <= names_below(scores, "attreval/vqa/color/")
    assert 2 * scores["attreval/vqa/pairs"] == scores["attreval/vqa/questions"]
    assert scores["answers/attreval/refseg/answers"] >= scores["attreval/vqa/pairs"]
    witness = json.loads((root / "lira_attreval" / "witness.json").read_text())["figures"]
    assert witness == {name: scores[name] for name in witness}
    for stage in ("coarse", "refined"):
        assert {"items", "missing", "top1", "frequency_top1"} <= names_below(witness, f"attreval/refseg/{stage}/color/")
    lines = (root / "lira_attreval" / "witness.jsonl").read_text().splitlines()
    assert len(lines) == sum(
        witness[f"attreval/refseg/coarse/{kind}/items"] for kind in ("category", "location", "color")
    )
    written = json.loads((root / "lira_attreval" / "attreval.json").read_text())
    (path,) = written["settings"]["data"]["attreval/vqa"]["files"]
    assert Path(path).name == "attreval_vqa.jsonl"


def test_the_reason_recipe_scores_short_and_long_questions_and_all(root, tmp_path, monkeypatch):
    config = recipe(root, "lira_tiny_reason", monkeypatch)
    config.model["init_from"] = []
    config.model["generation"]["max_new_tokens"] = 8
    scores = runner(config, tmp_path / "run", 1).test()
    for split in ("val", "test"):
        for kind in ("short", "long", "all"):
            assert {"cIoU", "gIoU", "P@0.5"} <= names_below(scores, f"reasonseg/{split}/{kind}/refined/")
    written = json.loads((root / "lira_reason" / "reason.json").read_text())
    assert written["settings"]["data"]["reasonseg/val"]["query"] == "all"


def names_below(scores: dict[str, float], prefix: str) -> set[str]:
    return {name.removeprefix(prefix) for name in scores if name.startswith(prefix)}
