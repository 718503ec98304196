"""`tools/score.py` on files of masks."""

import hashlib
import json
import runpy
import sys

import numpy as np
import pytest
from support.command_ends import ends_with_error
from support.paths import ROOT

from lira_plugin.structures import encode_mask


def run(monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["score.py", *map(str, arguments)])
    runpy.run_path(str(ROOT / "tools" / "score.py"), run_name="__main__")


def half(columns: int) -> dict:
    mask = np.zeros((10, 10), bool)
    mask[:, :columns] = True
    return encode_mask(mask)


LINES = [
    {"record_id": "a", "segmentation": half(4), "target": half(8), "score": 0.9},
    {"record_id": "b", "segmentation": [half(8), half(9)], "target": half(9), "score": 0.8},
    {"record_id": "c", "segmentation": None, "target": None},
    {"record_id": "d", "segmentation": half(4), "target": None, "score": 0.1},
    {"record_id": "e", "target": half(5)},
]


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["refseg"], {"gIoU": (4 / 8 + 8 / 9 + 1) / 5, "cIoU": 120 / 260, "missing_seg": 0.4}),
        (["refseg", "--spans", "union"], {"gIoU": (4 / 8 + 1 + 1) / 5, "cIoU": 130 / 260}),
        (["refseg", "--skip-missing"], {"gIoU": (4 / 8 + 8 / 9) / 5, "cIoU": 120 / 210}),
        (["grefcoco"], {"gIoU": 2.5 / 5, "N-acc": 0.5, "T-acc": 2 / 3, "P@0.7": 1 / 3, "gIoU_50px": 2 / 5 + 1 / 5}),
        (["reasonseg"], {"gIoU": (4 / 8 + 8 / 9 + 1) / 5}),
    ],
)
def test_scores_settings_and_records_are_written(monkeypatch, capsys, lines, tmp_path, arguments, expected):
    out, records = tmp_path / "new" / "scores.json", tmp_path / "records.jsonl"
    run(monkeypatch, arguments[0], lines, *arguments[1:], "--json", out, "--per-record", records)
    written = json.loads(out.read_text())
    assert {name: written[name] for name in expected} == pytest.approx(expected)
    settings = written["settings"]
    assert settings["kind"] == arguments[0] and settings["protocol"]["skip_missing"] == ("--skip-missing" in arguments)
    assert settings["data"]["predictions"]["sha256"] == hashlib.sha256(lines.read_bytes()).hexdigest()
    assert [json.loads(line)["record_id"] for line in records.read_text().splitlines()] == list("abcde")
    assert "gIoU" in capsys.readouterr().out


def test_what_cannot_be_scored_ends_with_its_name(monkeypatch, lines, tmp_path, capsys):
    lines.write_text(json.dumps({"target": 3}))
    with ends_with_error(capsys, r"score\.py: error: .*lines\.jsonl, line 1: 'target' must be an RLE"):
        run(monkeypatch, "refseg", lines)
    with ends_with_error(capsys, "there is no file"):
        run(monkeypatch, "refseg", tmp_path / "none.jsonl")
    with ends_with_error(capsys, "min_pixels"):
        run(monkeypatch, "refseg", lines, "--min-pixels", "-1")
