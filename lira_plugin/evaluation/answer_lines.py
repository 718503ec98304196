"""Answers of any model as plain objects: lines of a JSON Lines file, with the truth beside the answer.

========== ===================================================================================================
all        ``answer``; optional ``record_id`` (or ``question_id``, ``index``), ``source``, ``category``, ``group``
vqa        ``answers``: a list of texts, or of objects with ``answer`` as the VQA challenge has them
others     ``label``: a text; of questions with options the letter of the right one, or its index from 0
scienceqa, ``choices``: the texts of the options in order, or an object ``{"A": "red", ...}``
mmbench
========== ===================================================================================================

``choices`` may stand in the lines of any rule. Lines of AttrEval are pairs by their ``group``, or, where none has one, in their
order: 2i and 2i + 1. Their ``annotation`` stands for ``label``, and ``attribute`` for ``category``, as in the files of its
questions. The group of an MMBench line without ``group`` is its ``index`` without the millions: its turned
options are numbered so. Where there is no ``index`` either, the record's id is taken for it. Groups of different sources are
different.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lira_plugin.evaluation.answer_rules import AnswerResult, RuleName, judge_answer, summarise_answers
from lira_plugin.evaluation.prediction_files import read_lines
from lira_plugin.structures import LETTERS, AnswerTruth, shown

_TURN = 1_000_000
"""What MMBench adds to the index of a question for each turn of its options."""
_NEEDS_CHOICES = ("scienceqa", "mmbench")


class AnswerScores(NamedTuple):
    """Figures of a file, and the results of its lines."""

    figures: dict[str, float]
    results: list[AnswerResult]


def score_answer_lines(lines: Iterable[tuple[str, Mapping[str, Any]]], rule: RuleName) -> AnswerScores:
    """Score lines.

    Args:
        lines: (name for messages, object), see the head of this module.
        rule: one of :data:`~lira_plugin.evaluation.answer_rules.ANSWER_RULES`.

    Raises:
        ValueError: there is no line, one is not of this form, or a record of a source and category occurs twice; the message
            names the line.
    """
    results: list[AnswerResult] = []
    known: dict[tuple[str, ...], str] = {}
    for name, line in lines:
        try:
            record_id, answer, truth = read_answer_line(line, rule)
            source = _optional_id(line, "source")
            results.append(AnswerResult(record_id or name, answer, truth, judge_answer(rule, answer, truth), source))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        # both questions of a pair of AttrEval may have one id
        key = (source, truth.category, record_id, truth.label if rule == "attreval" else "")
        if record_id and key in known:
            raise ValueError(
                f"{name}: record {record_id!r} was in {known[key]} already; each counts once: remove one of them"
            )
        known[key] = name
    if not results:
        raise ValueError("there is no line to score")
    return AnswerScores(summarise_answers(rule, results), results)


def score_answer_file(path: str | os.PathLike, rule: RuleName) -> AnswerScores:
    """Score a JSON Lines file, see :func:`score_answer_lines`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it has no line, or one that cannot be scored; the message names it.
    """
    try:
        return score_answer_lines(read_lines(path), rule)
    except ValueError as error:
        raise error if str(path) in str(error) else ValueError(f"{path}: {error}") from error


def read_answer_line(line: Mapping[str, Any], rule: RuleName) -> tuple[str, str, AnswerTruth]:
    """The record's id (``""`` without one), the answer and its truth.

    Raises:
        ValueError: a key is missing or not of its type, or the label is not that of an option.
    """
    ids = [_optional_id(line, key) for key in ("record_id", "question_id", "index")]
    record_id = next(filter(None, ids), "")
    if rule == "attreval":
        line = {"label": line.get("annotation"), "category": line.get("attribute")} | dict(line)
    choices = _choices(line, rule)
    group = _optional_id(line, "group")
    if rule == "mmbench" and not group:
        index = ids[-1] or record_id
        group = str(int(index) % _TURN) if index.isdecimal() else ids[-1]
    truth = AnswerTruth(
        answers=_answers(line) if rule == "vqa" else (),
        label="" if rule == "vqa" else _label(line, choices),
        choices=choices,
        category=_optional_id(line, "category"),
        group=group,
    )
    return record_id, _text(line, "answer"), truth


def _text(line: Mapping[str, Any], key: str) -> str:
    value = line.get(key)
    if not isinstance(value, str):
        raise ValueError(
            f"{key!r} must be a text, got {shown(value) if key in line else f'none among {sorted(line)}'}; "
            "a model that said nothing has the answer ''"
        )
    return value


def _optional_id(line: Mapping[str, Any], key: str) -> str:
    """A text or whole number as text, ``""`` where the line has none."""
    value = line.get(key)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{key!r} must be a text or a whole number, got {shown(value)}")
    return str(value)


def _answers(line: Mapping[str, Any]) -> tuple[str, ...]:
    values = line.get("answers")
    if isinstance(values, list):
        values = [value.get("answer") if isinstance(value, dict) else value for value in values]
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise ValueError(
            f"'answers' must be a list of at least one text, or of objects with 'answer', got {shown(line.get('answers'))}"
        )
    return tuple(values)


def _choices(line: Mapping[str, Any], rule: RuleName) -> tuple[str, ...]:
    values = line.get("choices")
    if isinstance(values, dict):
        if sorted(values) != list(LETTERS[: len(values)]):
            raise ValueError(
                f"the letters of 'choices' must be A, B, C, ... without a gap, got {shown(sorted(values))}"
            )
        values = [values[letter] for letter in sorted(values)]
    if values is None and rule not in _NEEDS_CHOICES:
        return ()
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise ValueError(f"'choices' must be a list of the options' texts, got {shown(line.get('choices'))}")
    return tuple(values)


def _label(line: Mapping[str, Any], choices: tuple[str, ...]) -> str:
    value = line.get("label")
    if choices and isinstance(value, int) and not isinstance(value, bool):
        letters = AnswerTruth(choices=choices).letters
        if not 0 <= value < len(letters):
            raise ValueError(f"'label' must be an index of the {len(choices)} options, from 0 on, got {shown(value)}")
        return letters[value]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"'label' must be a text that is not empty, got {shown(value)}")
    return value.strip() if choices else value
