"""`tools/score.py` on files of answers in words."""

import hashlib
import json
import runpy
import sys
from itertools import pairwise

import pytest
from support.command_ends import ends_with_error
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


MMBENCH = {"answer": "A", "choices": ["x", "y"]}


@pytest.mark.parametrize(
    ("kind", "lines", "expected"),
    [
        (
            "mmbench",
            [
                MMBENCH | {"question_id": 0, "index": 241, "label": "A"},
                MMBENCH | {"question_id": 1, "index": 1000241, "label": "B"},
            ],
            {"circular_accuracy": 0.0},
        ),
        (
            "mmbench",
            [
                MMBENCH | {"index": 241, "source": "a", "label": "A"},
                MMBENCH | {"index": 241, "source": "b", "label": "B"},
            ],
            {"circular_accuracy": 0.5},
        ),
        (
            "mmbench",
            [
                MMBENCH | {"group": "g", "source": "a", "label": "A"},
                MMBENCH | {"group": "g", "source": "b", "label": "B"},
            ],
            {"circular_accuracy": 0.5},
        ),
        (
            "mmbench",
            [MMBENCH | {"question_id": 1, "index": "x", "label": "A"}, MMBENCH | {"index": 1000001, "label": "B"}],
            {"circular_accuracy": 0.5},
        ),
        ("mmbench", [MMBENCH | {"label": "A"}, MMBENCH | {"label": "B"}], {"circular_accuracy": 0.5}),
        (
            "mme",
            [
                {"answer": said, "label": "yes", "category": "OCR", "group": "1.jpg", "source": source}
                for source, said in (("a", "yes"), ("a", "yes"), ("b", "yes"), ("b", "no"))
            ],
            {"OCR/accuracy_plus": 0.5, "OCR/accuracy": 0.75},
        ),
        (
            "pope",
            [
                {"question_id": 1, "answer": "Yes", "label": label, "category": "random", "source": source}
                for source, label in (("a", "yes"), ("b", "no"), (None, "no"), ("None", "no"), (3, "no"))
            ],
            {"accuracy": 0.2},
        ),
    ],
)
def test_groups_and_sources_stay_apart_also_when_lines_are_scored_again(monkeypatch, tmp_path, kind, lines, expected):
    paths = [tmp_path / f"{name}.jsonl" for name in ("given", "again", "once more")]
    paths[0].write_text("".join(json.dumps(line) + "\n" for line in lines))
    for path, records in pairwise(paths):
        run(monkeypatch, kind, path, "--json", tmp_path / "scores.json", "--per-record", records)
        written = json.loads((tmp_path / "scores.json").read_text())
        assert {name: written[name] for name in expected} == pytest.approx(expected)
    sources = [json.loads(line).get("source") for line in paths[1].read_text().splitlines()]
    assert sources == [None if line.get("source") is None else str(line["source"]) for line in lines]
    assert paths[1].read_text() == paths[2].read_text()


def test_what_cannot_be_scored_ends_with_its_name(monkeypatch, tmp_path, capsys):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"answer": "x", "label": "y"}\n{"answer": "x"}\n')
    with ends_with_error(capsys, r"score\.py: error: .*lines\.jsonl, line 2: 'label' must be a text"):
        run(monkeypatch, "gqa", path)


def test_half_a_surrogate_is_written_as_it_was_read(monkeypatch, tmp_path, capsys):
    path, records = tmp_path / "lines.jsonl", tmp_path / "records.jsonl"
    path.write_text(json.dumps({"answer": "\ud800 dog", "label": "dog", "category": "\udc00", "source": "\U0001f600"}))
    run(monkeypatch, "gqa", path, "--json", tmp_path / "scores.json", "--per-record", records)
    written = json.loads(records.read_text(encoding="utf-8"))
    assert (written["answer"], written["category"], written["source"]) == ("\ud800 dog", "\udc00", "\U0001f600")
    assert "\udc00/accuracy" in json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert "\\udc00/accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--json", "--per-record"])
@pytest.mark.parametrize("to", ["file/new.json", "folder", "lines.jsonl", "/proc/none/x.json"])
def test_what_cannot_be_written_is_said_before_the_work(monkeypatch, tmp_path, option, to, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    path = tmp_path / "lines.jsonl"
    path.write_text("no JSON")
    with ends_with_error(capsys, rf"score\.py: error: .*{to}( |:)"):
        run(monkeypatch, "gqa", path, option, tmp_path / to)
    assert path.read_text() == "no JSON" and not list(tmp_path.rglob("*.part"))


def test_one_file_for_two_outputs_is_refused(monkeypatch, tmp_path, capsys):
    path, out = tmp_path / "lines.jsonl", tmp_path / "out.json"
    path.write_text('{"answer": "x", "label": "y"}\n')
    with ends_with_error(capsys, r"out\.json is named twice"):
        run(monkeypatch, "gqa", path, "--json", out, "--per-record", out)
