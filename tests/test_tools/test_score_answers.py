"""`tools/score.py` on files of answers in words."""

import hashlib
import json
import runpy
import sys

import pytest
from support.paths import ROOT


def run(monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["score.py", *map(str, arguments)])
    runpy.run_path(str(ROOT / "tools" / "score.py"), run_name="__main__")


@pytest.mark.parametrize(
    ("kind", "lines", "expected", "scores"),
    [
        ("vqa", [{"answer": "Two.", "answers": ["2"] * 3 + ["x"] * 7}], {"accuracy": 0.9}, [0.9]),
        (
            "gqa",
            [{"answer": "The dog is brown", "label": "brown"}, {"answer": "cat", "label": "dog"}],
            {"accuracy": 0.5, "accuracy_official": 0.0},
            [1.0, 0.0],
        ),
        (
            "pope",
            [
                {"answer": "Yes", "label": "yes", "category": "random"},
                {"answer": "Yes", "label": "no", "category": "popular"},
            ],
            {"accuracy": 0.5, "random/accuracy": 1.0, "popular/accuracy": 0.0, "popular/F1": 0.0, "mean_F1": 0.5},
            [1.0, 0.0],
        ),
        (
            "scienceqa",
            [
                {"answer": "(B)", "choices": ["x", "y"], "label": "B"},
                {"answer": "A", "choices": ["x", "y"], "label": "A"},
            ],
            {"accuracy": 0.5, "accuracy_tolerant": 1.0},
            [0.0, 1.0],
        ),
        (
            "mmbench",
            [
                {"answer": "A", "choices": ["x", "y"], "label": "A", "index": 5},
                {"answer": "A", "choices": ["y", "x"], "label": "B", "index": 1000005},
            ],
            {"accuracy": 0.5, "circular_accuracy": 0.0},
            [1.0, 0.0],
        ),
        ("relaxed", [{"answer": "104", "label": "100"}], {"accuracy": 1.0}, [1.0]),
    ],
)
def test_scores_settings_and_records_are_written(monkeypatch, capsys, tmp_path, kind, lines, expected, scores):
    path, out, records = tmp_path / "lines.jsonl", tmp_path / "scores.json", tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(monkeypatch, kind, path, "--json", out, "--per-record", records)
    written = json.loads(out.read_text())
    assert {name: written[name] for name in expected} == pytest.approx(expected)
    assert written["settings"]["rule"] == kind
    assert written["settings"]["data"]["predictions"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [json.loads(line)["score"] for line in records.read_text().splitlines()] == pytest.approx(scores)
    assert "accuracy" in capsys.readouterr().out


def test_what_cannot_be_scored_ends_with_its_name(monkeypatch, tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"answer": "x", "label": "y"}\n{"answer": "x"}\n')
    with pytest.raises(SystemExit, match=r"score\.py gqa: .*lines\.jsonl, line 2: 'label' must be a text"):
        run(monkeypatch, "gqa", path)
