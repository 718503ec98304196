"""The data check, over scenes with faults."""

import json
import re
import runpy
import shutil
import sys

import pytest
from support.paths import ROOT, config_path
from support.process_state import process_state_restored

from lira_plugin.scenes.scene_files import write_scenes
from lira_plugin.scenes.scene_tokenizer import write_scene_tokenizer

pytestmark = pytest.mark.slow

RECIPE = config_path("lira_tiny")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("check")
    files = write_scenes(root / "data", 6, 2, progress=False)
    write_scene_tokenizer(files)
    return files


@pytest.fixture
def copied(scenes, tmp_path):
    """Scenes to spoil."""
    shutil.copytree(scenes.root, tmp_path / "data")
    return type(scenes)(tmp_path / "data")


def check(monkeypatch, files, *arguments):
    monkeypatch.setenv("LIRA_TINY_ROOT", str(files.root.parent))
    monkeypatch.setattr(sys, "argv", ["check_data.py", str(RECIPE), *map(str, arguments)])
    with process_state_restored(), pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "tools" / "check_data.py"), run_name="__main__")
    return end.value.code


def test_good_data_passes(monkeypatch, capsys, scenes, tmp_path):
    assert check(monkeypatch, scenes, "--json", tmp_path / "new" / "check.json", "--workers", 2) == 0
    written = json.loads((tmp_path / "new" / "check.json").read_text())
    found = written["sources"]
    assert written["findings"] == [] and written["counts"] == {}
    assert [part["records"] for part in found] == [6, 6, 6 + 2], "RefSeg, GCG, and questions with two without an image"
    assert all(part["samples"] >= part["records"] and not part["faults"] for part in found)
    assert found[0]["views"] and found[1]["views"] and not found[2]["views"]
    assert found[0]["samples"] > 6, "all sentences of an image, four a sample"
    assert re.search(r"refcoco/train: \d+ samples of 6 records, 0 faults", capsys.readouterr().out)


def test_faults_are_found_before_the_training(monkeypatch, capsys, copied, tmp_path):
    first = next(iter(sorted(copied.images.glob("*.jpg"))))
    first.write_bytes(first.read_bytes()[:200])
    path = copied.root / "llava" / "scenes_train.json"
    records = json.loads(path.read_text())
    records[3]["conversations"][1]["value"] = "It is <seg>."
    path.write_text(json.dumps(records))
    assert check(monkeypatch, copied, "--json", tmp_path / "check.json") == 1
    found = json.loads((tmp_path / "check.json").read_text())["findings"]
    cut = [finding for finding in found if finding["kind"] == "truncated_image"]
    assert [finding["source"] for finding in cut] == ["refcoco/train", "gcg/grandf", "llava"]
    assert all(str(first) in one["message"] and "cannot be read as an image" in one["message"] for one in cut)
    (spelt,) = [finding for finding in found if finding not in cut]
    assert (spelt["kind"], spelt["record"]) == ("special_token", records[3]["id"]) and "'<seg>'" in spelt["message"]
    out = capsys.readouterr().out
    assert all(finding["message"] in out for finding in found)


def test_faults_of_readers_are_found_with_all_others(monkeypatch, capsys, copied, tmp_path):
    """Bad records of two files, one of which has nothing else, and a sentence that a draw may not take."""
    for name, spoil in (("grandf/scenes_GCG_train", "caption"), ("llava/scenes_train", "conversations")):
        path = copied.root / f"{name}.json"
        records = json.loads(path.read_text())
        for record in records[: None if spoil == "caption" else 2]:
            record[spoil] = None
        path.write_text(json.dumps(records))
    questions = tmp_path / "q.jsonl"
    questions.write_text('{"image": "a.png"}')
    assert check(monkeypatch, copied, "--questions", questions, "--json", tmp_path / "check.json") == 1
    found = json.loads((tmp_path / "check.json").read_text())
    assert [(part["source"], part["faults"]) for part in found["sources"]] == [
        ("refcoco/train", 0), ("gcg/grandf", 6), ("llava", 2), (str(questions), 1),
    ]  # fmt: skip
    assert found["counts"] == {"layout": 9}
    out = capsys.readouterr().out
    assert "(and 5 more like it: " in out and "'caption' must be a text: got None" in out
    assert "'conversations' must be a list: got None" in out and "line 1: it lacks 'question'" in out


def test_regions_that_do_not_fit_are_told(monkeypatch, capsys, scenes):
    option = "train_dataloader.dataset.pipeline.tokenize.max_length=60"
    assert check(monkeypatch, scenes, "--cfg-options", option) == 1
    assert "max_length leaves out" in capsys.readouterr().out


def test_the_data_of_a_test(monkeypatch, capsys, scenes):
    assert check(monkeypatch, scenes, "--loader", "test_dataloader") == 0
    out = capsys.readouterr().out
    assert all(f"refcoco/{split}: " in out for split in ("val", "testA", "testB"))


def test_a_recipe_without_that_loader(monkeypatch, capsys, scenes):
    assert check(monkeypatch, scenes, "--loader", "val_dataloader") == 2
    assert "has no val_dataloader" in capsys.readouterr().err


def test_a_clean_copy_replaces_nothing(monkeypatch, capsys, scenes, tmp_path):
    (tmp_path / "mine.txt").write_text("dear to me")
    assert check(monkeypatch, scenes, "--fix", tmp_path) == 2
    assert "is not empty" in capsys.readouterr().err and [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_decoding_what_a_header_tells_is_found(monkeypatch, copied, tmp_path):
    first, second, *_ = sorted(copied.images.glob("*.jpg"))
    first.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    second.unlink()
    assert check(monkeypatch, copied, "--no-images", "--json", tmp_path / "check.json") == 1
    assert json.loads((tmp_path / "check.json").read_text())["counts"] == {"missing_image": 3}
