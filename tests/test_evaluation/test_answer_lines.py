import json

import pytest

from lira_plugin.evaluation.answer_lines import read_answer_line, score_answer_file, score_answer_lines
from lira_plugin.structures import AnswerTruth


@pytest.mark.parametrize(
    ("rule", "line", "truth"),
    [
        ("vqa", {"answers": ["a", "b"]}, AnswerTruth(answers=("a", "b"))),
        ("vqa", {"answers": [{"answer": "a", "answer_id": 1}]}, AnswerTruth(answers=("a",))),
        ("gqa", {"label": "dog"}, AnswerTruth(label="dog")),
        ("pope", {"label": "yes", "category": "random"}, AnswerTruth(label="yes", category="random")),
        ("scienceqa", {"label": "B", "choices": ["x", "y"]}, AnswerTruth(label="B", choices=("x", "y"))),
        ("scienceqa", {"label": 1, "choices": ["x", "y"]}, AnswerTruth(label="B", choices=("x", "y"))),
        ("scienceqa", {"label": "A", "choices": {"B": "y", "A": "x"}}, AnswerTruth(label="A", choices=("x", "y"))),
        ("choice", {"label": "B"}, AnswerTruth(label="B")),
        (
            "mmbench",
            {"label": "A", "choices": ["x"], "index": 3000007},
            AnswerTruth(label="A", choices=("x",), group="7"),
        ),
        (
            "mmbench",
            {"label": "A", "choices": ["x"], "index": 7, "group": "g"},
            AnswerTruth(label="A", choices=("x",), group="g"),
        ),
        (
            "mme",
            {"label": "no", "category": "OCR", "group": "1.jpg"},
            AnswerTruth(label="no", category="OCR", group="1.jpg"),
        ),
        ("seed", {"label": "D", "category": 3}, AnswerTruth(label="D", category="3")),
    ],
)
def test_lines_are_read(rule, line, truth):
    record_id, answer, found = read_answer_line({"answer": "", **line}, rule)
    assert (record_id, answer, found) == (str(line.get("index", "")), "", truth)


@pytest.mark.parametrize(
    ("rule", "line", "message"),
    [
        ("vqa", {"answers": ["a"]}, "'answer' must be a text, got none among"),
        ("vqa", {"answer": None, "answers": ["a"]}, "'answer' must be a text, got None; a model that said nothing"),
        ("vqa", {"answer": 3, "answers": ["a"]}, "'answer' must be a text, got 3"),
        ("vqa", {"answer": "a"}, "'answers' must be a list of at least one text.*got None"),
        ("vqa", {"answer": "a", "answers": []}, "'answers' must be"),
        ("vqa", {"answer": "a", "answers": "abc"}, "'answers' must be.*got 'abc'"),
        ("vqa", {"answer": "a", "answers": ["a", 2]}, "'answers' must be"),
        ("vqa", {"answer": "a", "answers": [{"text": "a"}]}, "'answers' must be"),
        ("gqa", {"answer": "a"}, "'label' must be a text that is not empty, got None"),
        ("gqa", {"answer": "a", "label": " "}, "'label' must be a text"),
        ("gqa", {"answer": "a", "label": 3}, "'label' must be a text.*got 3"),
        ("pope", {"answer": "a", "label": "maybe"}, "must be 'yes' or 'no', got 'maybe'"),
        ("pope", {"answer": "a", "label": "yes", "category": ["x"]}, "'category' must be a text or a whole"),
        ("scienceqa", {"answer": "a", "label": "A"}, "'choices' must be a list of the options' texts, got None"),
        ("scienceqa", {"answer": "a", "label": "A", "choices": []}, "'choices' must be"),
        ("scienceqa", {"answer": "a", "label": "A", "choices": [1, 2]}, "'choices' must be"),
        ("scienceqa", {"answer": "a", "label": "A", "choices": {"A": "x", "C": "y"}}, "without a gap, got"),
        ("scienceqa", {"answer": "a", "label": "C", "choices": ["x", "y"]}, "one of .'A', 'B'.*got 'C'"),
        ("scienceqa", {"answer": "a", "label": 2, "choices": ["x", "y"]}, "index of the 2 options, from 0 on, got 2"),
        ("scienceqa", {"answer": "a", "label": True, "choices": ["x", "y"]}, "'label' must be a text"),
        ("mmbench", {"answer": "a", "label": "A", "choices": ["x"] * 27}, "at most 26, got 27"),
        ("scienceqa", {"answer": "a", "label": 28, "choices": ["x"] * 30}, "at most 26, got 30"),
        ("gqa", {"answer": "a", "label": "x", "record_id": 1.5}, "'record_id' must be a text or a whole"),
    ],
)
def test_what_is_not_of_the_form_is_named(rule, line, message):
    with pytest.raises(ValueError, match=f"line 3: .*{message}"):
        score_answer_lines([("file, line 3", line)], rule)


def test_a_record_counts_once_in_its_category():
    def line(**keys):
        return {"answer": "yes", "label": "yes", "question_id": 1, **keys}

    lines = [("line 1", line(category="random")), ("line 2", line(category="popular"))]
    assert score_answer_lines(lines, "pope").figures["questions"] == 2
    with pytest.raises(ValueError, match="line 3: record '1' was in line 1 already"):
        score_answer_lines([*lines, ("line 3", line(category="random"))], "pope")


def test_what_is_of_the_whole_file_names_the_file(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text("\n")
    with pytest.raises(ValueError, match=r"answers\.jsonl: there is no line to score"):
        score_answer_file(path, "gqa")
    path.write_text(json.dumps({"answer": "yes", "label": "yes", "group": "1.jpg", "category": "OCR"}))
    with pytest.raises(ValueError, match=r"answers\.jsonl: MME asks two questions about each image"):
        score_answer_file(path, "mme")
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl"):
        score_answer_file(tmp_path / "none.jsonl", "gqa")
