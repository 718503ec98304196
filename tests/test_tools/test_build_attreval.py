"""``tools/build_attreval.py`` and the score of its questions, as a user calls them."""

import json
import sys
from runpy import run_path

import pytest
from support.command_ends import ends_with_error
from support.paths import ROOT

from lira_plugin.scenes.scene_files import write_scenes

LEXICONS = ROOT / "lira_plugin" / "scenes" / "attribute_lexicons"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"), 2, 5, progress=False)


@pytest.fixture
def call(monkeypatch):
    def call(tool, *arguments):
        monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
        run_path(str(ROOT / "tools" / tool), run_name="__main__")

    return call


def test_counts_stand_beside_the_papers_and_perfect_answers_score_one(call, scenes, tmp_path, capsys):
    out = tmp_path / "out"
    call("build_attreval.py", scenes.root, out, "--lexicon", LEXICONS, "--questions", 20, "--expressions", 9)
    said = capsys.readouterr().out
    assert "questions written: 20 (paper: 1,436)" in said and "expressions written: 9 (paper: 618)" in said
    assert "the paper's exact selection is not published" in said and "dropped, color: " in said
    settings = json.loads((out / "summary.json").read_text())["settings"]
    assert settings["splits"] == ["val", "testA", "testB"] and settings["lexicon"] == [str(LEXICONS)]
    lines = [json.loads(line) for line in (out / "attreval_vqa.jsonl").read_text().splitlines()]
    answers = tmp_path / "answers.jsonl"
    answers.write_text("\n".join(json.dumps({**line, "annotation": line["answer"]}) for line in lines))
    call("score.py", "attreval", answers, "--json", tmp_path / "scores.json")
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["pairs"], scores["pair_accuracy"], scores["yes_share"]) == (10, 1.0, 0.5)
    assert scores["color/pair_accuracy"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lexicon", "gone.txt"], "gone.txt is no lexicon"),
        ([], "the lexicon of categories has none of those of"),
        (["--kinds", "color", "--splits", "dev"], "has no ref of split 'dev'"),
        (["--kinds", "color", "--dataset", "mine"], "there is no file refs"),
        (["--kinds", "color", "--questions", "3"], "must be even, got 3"),
    ],
)
def test_errors_are_said_in_a_line(call, scenes, tmp_path, arguments, message, capsys):
    with ends_with_error(capsys, rf"build_attreval\.py: error: .*{message}"):
        call("build_attreval.py", scenes.root, tmp_path / "out", *arguments)
    assert not (tmp_path / "out").exists()
