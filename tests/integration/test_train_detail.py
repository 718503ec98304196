"""The recipes of scenes with fine detail: they train, with and without ILVC, and their test scores marks."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from support.paths import config_path
from support.process_state import process_state_restored

from lira_plugin.registry import MODELS
from lira_plugin.scenes import detail_files
from lira_plugin.scenes.detail_files import DetailFiles, write_detail_scenes
from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("detail")
    tokenizer = write_scene_tokenizer(write_scenes(root / "data", 8, 1, progress=False))
    write_detail_scenes(root / "detail", tokenizer, 12, 2, size=192, progress=False)
    return root


@pytest.fixture(autouse=True)
def own_globals():
    """A Runner leaves names and a scope behind; give the next test the former ones."""
    with process_state_restored():
        yield


def recipe(root: Path, name: str, work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("LIRA_TINY_ROOT", str(root))
    config = Config.fromfile(config_path(name))
    config.work_dir, config.experiment_name = str(work_dir), work_dir.name
    config.train_cfg.max_iters = 2
    config.train_dataloader.batch_size = 4
    config.default_hooks.logger.interval = 1
    config.log_processor.window_size = 1
    config.model.init_from = []
    return config


@pytest.mark.parametrize("name", ["lira_tiny_detail", "lira_tiny_detail_no_ilvc"])
def test_it_trains_and_its_test_scores_marks(root, tmp_path, monkeypatch, name):
    config = recipe(root, name, tmp_path / "run", monkeypatch)
    config.model.generation.update(max_new_tokens=8)
    written = tmp_path / "marks.json"
    config.test_evaluator[0].update(out_file=str(written))
    config.test_evaluator[2].update(out_file=str(tmp_path / "answers.jsonl"))
    runner = Runner.from_cfg(config)
    runner.train()
    lines = [json.loads(line) for path in (tmp_path / "run").glob("*/vis_data/scalars.json") for line in path.open()]
    losses = [line for line in lines if "loss_query" in line]
    assert len(losses) == 2 and all(line["loss"] > 0 for line in losses)
    scores = runner.test()
    assert {"questions/accuracy", "sentences/refined/cIoU", "sentences/coarse/cIoU"} <= scores.keys()
    assert 0 <= scores["chair/captions/CHAIRi"] <= 1
    content = json.loads(written.read_text())
    assert content["settings"]["generation"]["ilvc"] == (name == "lira_tiny_detail")
    sources = {record["source"] for record in content["records"]}
    assert sources == {"captions", "questions", "sentences"}


def test_the_semantic_stage_goes_on_from_that_of_plain_scenes(root, tmp_path, monkeypatch):
    plain = recipe(root, "lira_tiny_semantic", tmp_path / "plain", monkeypatch)
    torch.manual_seed(0)
    state = MODELS.build(plain.model).state_dict()
    (root / "semantic").mkdir()
    torch.save({"state_dict": state}, root / "semantic" / "iter_1.pth")
    (root / "semantic" / "last_checkpoint").write_text(str(root / "semantic" / "iter_1.pth"))
    config = recipe(root, "lira_tiny_detail_semantic", tmp_path / "run", monkeypatch)
    config.model.init_from = Config.fromfile(config_path("lira_tiny_detail_semantic")).model.init_from
    model = MODELS.build(config.model)
    own = model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in state.items() if not name.startswith("classifier."))
    assert model.classifier.num_classes == 6 * 8 * 5
    runner = Runner.from_cfg(config)
    runner.train()
    assert 0 <= runner.test()["accuracy"] <= 1


def test_the_tokenizer_keeps_the_ids_of_plain_scenes(root):
    from transformers import AutoTokenizer

    plain, marked = (
        AutoTokenizer.from_pretrained(folder)
        for folder in (root / "data" / "tokenizer", DetailFiles(root / "detail").tokenizer)
    )
    ids = marked.get_vocab()
    assert {name: ids[name] for name in plain.get_vocab()} == plain.get_vocab()
    text = "a red circle with stripes, a plain ring with dots"
    tokens = marked.tokenize(text)
    assert {" stripes", " plain", " dots"} <= set(tokens) and marked.decode(marked(text).input_ids) == text


def test_a_folder_is_written_once(root, tmp_path):
    tokenizer = root / "data" / "tokenizer"
    before = {path: path.stat().st_mtime_ns for path in (root / "detail").rglob("*") if path.is_file()}
    write_detail_scenes(root / "detail", tokenizer, 12, 2, size=192, progress=False)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(ValueError, match="num_train 12 there, 13 asked"):
        write_detail_scenes(root / "detail", tokenizer, 13, 2, size=192)
    with pytest.raises(FileNotFoundError, match=r"tools/make_scenes\.py"):
        write_detail_scenes(tmp_path / "new", tmp_path, 1, 1)
    write_detail_scenes(tmp_path / "again", tokenizer, 12, 2, size=192, progress=False)
    for path in before:
        if "read" not in path.parts:
            assert (tmp_path / "again" / path.relative_to(root / "detail")).read_bytes() == path.read_bytes(), path


def test_scenes_that_are_not_whole_are_written_anew(root, tmp_path, monkeypatch):
    tokenizer = root / "data" / "tokenizer"
    with monkeypatch.context() as patch:
        patch.setattr(detail_files, "_write_annotations", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_detail_scenes(tmp_path, tokenizer, 2, 1, size=192, progress=False)
    files = write_detail_scenes(tmp_path, tokenizer, 2, 1, size=192, progress=False)
    assert json.loads((tmp_path / "detail.json").read_text())["num_train"] == 2
    for lost in (files.questions("val"), next(files.images.iterdir())):
        data = lost.read_bytes()
        lost.unlink()
        write_detail_scenes(tmp_path, tokenizer, 2, 1, size=192, progress=False)
        assert lost.read_bytes() == data
