import csv
import hashlib
import json
import sys
from dataclasses import replace

import openpyxl
import pytest
from support.tiny_model import make_samples, refer_record

from lira_plugin.evaluation import AnswerMetric
from lira_plugin.evaluation.answer_lines import score_answer_file
from lira_plugin.structures import AnswerTruth, GroundedText

YES, NO = AnswerTruth(label="yes", category="random"), AnswerTruth(label="no", category="random")


@pytest.fixture
def evaluate(tmp_path):
    (sample,) = make_samples([refer_record(tmp_path, "a", ["cat"], 40, 40)])

    def evaluate(metric, asked):
        """``asked``: (source, record id, truth, answer)."""
        samples = [
            replace(sample, index=index, source=source, record_id=record_id, truth=truth, question="Is it?")
            for index, (source, record_id, truth, _) in enumerate(asked)
        ]
        metric.process({"data_samples": samples}, [GroundedText(text=answer) for *_, answer in asked])
        return metric.evaluate(len(asked))

    return evaluate


def test_figures_are_by_source_and_the_files_are_written(evaluate, tmp_path):
    data = tmp_path / "questions.json"
    data.write_text("[]")
    metric = AnswerMetric("pope", out_file=tmp_path / "out.json", dump=tmp_path / "dump.jsonl", prefix="test")
    metric.take_settings({"generation": {"num_beams": 5}, "data": {"pope": {"files": [str(data)]}}})
    figures = evaluate(metric, [("pope", "1", YES, "Yes"), ("pope", "2", NO, "Yes."), ("scenes", "1", YES, "no")])
    assert figures["test/pope/accuracy"] == figures["test/pope/random/accuracy"] == 0.5
    assert figures["test/scenes/accuracy"] == 0 and figures["test/pope/questions"] == 2
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["figures"] == {name.removeprefix("test/"): value for name, value in figures.items()}
    assert written["settings"]["rule"] == "pope" and written["settings"]["generation"] == {"num_beams": 5}
    digest = hashlib.sha256(b"[]").hexdigest()
    assert written["settings"]["data"]["pope"]["files"] == {str(data): digest}
    dumped = [json.loads(line) for line in (tmp_path / "dump.jsonl").read_text().splitlines()]
    assert [(entry["source"], entry["record_id"], entry["extracted"], entry["score"]) for entry in dumped] == [
        ("pope", "1", "yes", 1.0),
        ("pope", "2", "yes", 0.0),
        ("scenes", "1", "no", 0.0),
    ]


TURNED = AnswerTruth(label="B", choices=("x", "y"), category="c", group="7")


@pytest.mark.parametrize(
    ("rule", "truths"),
    [
        ("vqa", [AnswerTruth(answers=("dog", "a dog", "cat")), AnswerTruth(answers=("x",))]),
        ("pope", [YES, NO]),
        ("mmbench", [TURNED, TURNED.turned(1)]),
        ("mme", [replace(YES, group="1.jpg"), replace(NO, group="1.jpg")]),
    ],
)
def test_what_is_dumped_is_scored_alike_again(evaluate, tmp_path, rule, truths):
    asked = [("a", str(index), truth, "the dog. B") for index, truth in enumerate(truths)]
    figures = evaluate(AnswerMetric(rule, dump=tmp_path / "dump.jsonl"), asked)
    again = score_answer_file(tmp_path / "dump.jsonl", rule).figures
    assert {f"a/{name}": value for name, value in again.items()} == figures


def test_a_record_without_a_truth_is_an_error(evaluate):
    for truth in (None, AnswerTruth()):
        with pytest.raises(ValueError, match="gqa record 7: there is no truth to score the answer by.*'submission'"):
            evaluate(AnswerMetric("gqa"), [("gqa", "7", truth, "dog")])
    with pytest.raises(ValueError, match="gqa record 7: the truth has no label"):
        evaluate(AnswerMetric("gqa"), [("gqa", "7", AnswerTruth(answers=("dog",)), "dog")])


def option(label, choices, index, question="Which?"):
    return AnswerTruth(label=label, choices=choices, category="colour", group=str(index % 1_000_000), question=question)


SUBMITTED = [
    ("mmb", "1", option("", ("red", "=green"), 1, "=1+1?"), "(B)"),
    ("mmb", "1000001", option("", ("=green", "red", "a\tb"), 1000001, "x\ny"), "no\x07 idea"),
]


def test_the_table_for_the_server_is_written_as_text(evaluate, tmp_path):
    figures = evaluate(AnswerMetric("mmbench", submission=tmp_path / "mmb.tsv"), SUBMITTED)
    assert figures == {"mmb/questions": 2}
    with (tmp_path / "mmb.tsv").open(encoding="utf-8", newline="") as file:
        table = list(csv.reader(file, dialect="excel-tab"))
    assert table == [
        ["index", "question", "A", "B", "C", "category", "prediction"],
        ["1", "=1+1?", "red", "=green", "", "colour", "B"],
        ["1000001", "x\ny", "=green", "red", "a\tb", "colour", "no\x07 idea"],
    ]


def test_the_table_for_excel_has_no_formulas_and_no_characters_that_it_refuses(evaluate, tmp_path):
    evaluate(AnswerMetric("mmbench", submission=tmp_path / "mmb.xlsx"), SUBMITTED)
    sheet = openpyxl.load_workbook(tmp_path / "mmb.xlsx").active
    assert [[cell.value for cell in cells] for cells in sheet.iter_rows()] == [
        ["index", "question", "A", "B", "C", "category", "prediction"],
        [1, "=1+1?", "red", "=green", None, "colour", "B"],
        [1000001, "x\ny", "=green", "red", "a\tb", "colour", "no idea"],
    ]
    assert sheet["B2"].data_type == sheet["D2"].data_type == "s"


def test_a_known_truth_is_scored_and_submitted(evaluate, tmp_path):
    asked = [("mmb", "1", option("B", ("x", "y"), 1), "y"), ("mmb", "2", option("A", ("x", "y"), 2), "y")]
    figures = evaluate(AnswerMetric("mmbench", submission=tmp_path / "mmb.tsv"), asked)
    assert figures["mmb/accuracy"] == 0.5
    assert (tmp_path / "mmb.tsv").read_text().splitlines()[1] == "1\tWhich?\tx\ty\tB\tcolour\tB"


def test_the_list_for_the_challenge(evaluate, tmp_path):
    asked = [("vqav2", "42", AnswerTruth(), "two"), ("vqav2", "a1", AnswerTruth(), "")]
    evaluate(AnswerMetric("vqa", submission=tmp_path / "vqa.json"), asked)
    assert json.loads((tmp_path / "vqa.json").read_text()) == [
        {"question_id": 42, "answer": "two"},
        {"question_id": "a1", "answer": ""},
    ]


def test_a_submission_is_of_one_suite(evaluate, tmp_path):
    with pytest.raises(ValueError, match=r"is for one suite, but the answers are of \['en', 'cn'\]"):
        evaluate(AnswerMetric("vqa", submission=tmp_path / "x.json"), [("en", "1", YES, ""), ("cn", "1", YES, "")])


def test_what_cannot_be_done_is_refused_before_the_test(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="rule .*'vqa'.*'pop'"):
        AnswerMetric("pop")
    with pytest.raises(ValueError, match=r"'\.xlsx', '\.tsv', '\.json'.*got 'x\.csv'"):
        AnswerMetric("vqa", submission="x.csv")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(ImportError, match=r"x\.xlsx needs openpyxl"):
        AnswerMetric("mmbench", submission="x.xlsx")
