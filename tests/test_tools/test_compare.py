"""`tools/compare.py`: two files of masks, a JSON file and a sheet of what changed."""

import json
import runpy
import sys

import numpy as np
import pytest
from PIL import Image
from support.paths import ROOT

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


def test_what_cannot_be_compared_is_said(monkeypatch, files, tmp_path):
    with pytest.raises(SystemExit, match=r"compare\.py: .*a\.png"):
        run(monkeypatch, "grefcoco", *files, "--sheet", tmp_path / "sheet.png", "--image-root", tmp_path / "none")
    lines = files[1].read_text().splitlines()
    files[1].write_text("\n".join(lines[:2]))
    with pytest.raises(SystemExit, match="1 records are in the first file alone"):
        run(monkeypatch, "grefcoco", *files)
