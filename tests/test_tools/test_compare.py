"""`tools/compare.py`: two files of masks, a JSON file and a sheet of what changed."""

import json
import runpy
import sys

import numpy as np
import pytest
from PIL import Image
from support.command_ends import ends_with_error
from support.paths import ROOT
from support.random_coco import random_coco
from support.random_gcg import random_gcg, write_gcg

from lira_plugin.evaluation.coco_files import score_coco_files
from lira_plugin.structures import encode_mask


def run(monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, arguments)])
    runpy.run_path(str(ROOT / "tools" / "compare.py"), run_name="__main__")


def left(columns: int) -> dict:
    mask = np.zeros((40, 60), bool)
    mask[:, :columns] = True
    return encode_mask(mask)


@pytest.fixture
def files(tmp_path):
    Image.new("RGB", (60, 40)).save(tmp_path / "a.png")
    paths = []
    for name, columns in (("a", 40), ("b", 20)):
        lines = [
            {"record_id": "same", "segmentation": left(20), "target": left(20)},
            {"record_id": "changed", "image": "a.png", "segmentation": left(columns), "target": left(40)},
            {"record_id": "none", "image": "a.png", "segmentation": left(columns) if name == "b" else None},
        ]
        paths.append(tmp_path / f"{name}.jsonl")
        paths[-1].write_text("".join(json.dumps(line) + "\n" for line in lines))
    return paths


def test_differences_and_changed_records(monkeypatch, capsys, files, tmp_path):
    out, sheet = tmp_path / "new" / "out.json", tmp_path / "sheet.png"
    run(monkeypatch, "grefcoco", *files, "--json", out, "--sheet", sheet, "--image-root", tmp_path, "--draws", 50)
    written = json.loads(out.read_text())
    assert (written["figures"]["gIoU"]["first"], written["figures"]["gIoU"]["second"]) == (1, pytest.approx(1.5 / 3))
    assert [(change["name"], change["second"]) for change in written["changed"]] == [("none", 0), ("changed", 0.5)]
    assert written["settings"]["records"] == 3 and len(written["data"]["A"]["sha256"]) == 64
    height, width, _ = np.asarray(Image.open(sheet)).shape
    assert height > 2 * 180 and width > 3 * 180
    assert "gIoU: A 1.0000, B 0.5000" in capsys.readouterr().out


def test_what_cannot_be_compared_is_said(monkeypatch, files, tmp_path, capsys):
    with ends_with_error(capsys, r"compare\.py: error: .*a\.png"):
        run(monkeypatch, "grefcoco", *files, "--sheet", tmp_path / "sheet.png", "--image-root", tmp_path / "none")
    lines = files[1].read_text().splitlines()
    files[1].write_text("\n".join(lines[:2]))
    with ends_with_error(capsys, "1 records are in the first file alone"):
        run(monkeypatch, "grefcoco", *files)


def test_instances_of_coco(monkeypatch, tmp_path):
    truth, results = random_coco(4)
    files = {"truth.json": truth, "a.json": results, "b.json": results[::2]}
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    paths = [tmp_path / name for name in ("a.json", "b.json", "truth.json", "out.json")]
    run(monkeypatch, "coco", *paths[:2], "--ground-truth", paths[2], "--json", paths[3], "--draws", 50)
    written = json.loads(paths[3].read_text())
    first, second = (score_coco_files(path, paths[2]) for path in paths[:2])
    figure = written["figures"]["mIoU"]
    assert (figure["first"], figure["second"]) == pytest.approx((first.scores["mIoU"], second.scores["mIoU"]))
    assert figure["low"] <= figure["second"] - figure["first"] <= figure["high"]
    changed = {str(a.image_id): (a.mean_iou, b.mean_iou) for a, b in zip(first.images, second.images)}
    assert all((c["first"], c["second"]) == changed[c["name"]] for c in written["changed"])
    assert len(written["changed"]) == sum(a != b for a, b in changed.values()) > 1


def test_grounded_captions(monkeypatch, capsys, tmp_path):
    masks, captions, predictions = random_gcg(2)
    first, truth = write_gcg(tmp_path / "a", masks, captions, predictions)
    less = {name: said | {"pred_masks": [], "phrases": [], "scores": []} for name, said in predictions.items()}
    second, _ = write_gcg(tmp_path / "b", masks, captions, less)
    run(monkeypatch, "gcg", first, second, "--ground-truth", truth)
    said = capsys.readouterr().out
    assert "B 0.0000" in said and "-> 0.000" in said


def test_what_a_kind_needs_is_said(monkeypatch, files, tmp_path, capsys):
    with ends_with_error(capsys, r"compare\.py: error: coco needs --ground-truth"):
        run(monkeypatch, "coco", *files)
    with ends_with_error(capsys, r"compare\.py: error: .*lines of refseg hold their targets"):
        run(monkeypatch, "refseg", *files, "--ground-truth", tmp_path)
