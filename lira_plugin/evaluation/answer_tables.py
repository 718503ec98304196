"""Answers as the files that servers of suites score: MMBench's table and the list of the VQA challenge."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lira_plugin.evaluation.answer_rules import AnswerResult
from lira_plugin.structures import LETTERS
from lira_plugin.written_aside import write_json_list, written_aside

SUFFIXES = (".xlsx", ".tsv", ".json")
"""Of files for servers: MMBench's table in two forms, and the challenge's list."""


def check_submission(path: Path) -> None:
    """Refuse before the test what could not be written after it.

    Raises:
        ImportError: a table for Excel is asked for, and openpyxl is not installed.
        ValueError: the suffix is none of :data:`SUFFIXES`.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"the suffix of a file for a server must be one of {list(SUFFIXES)}, got {str(path)!r}")
    if path.suffix == ".xlsx":
        try:
            import openpyxl  # noqa: F401
        except ImportError as error:
            raise ImportError(f"{path} needs openpyxl: install it, or write a .tsv") from error


def write_submission(path: Path, results: Sequence[AnswerResult], extracted: Sequence[str]) -> None:
    """Write answers in the form that the suffix says.

    Args:
        path: ``.json``: a list of ``{"question_id", "answer"}``. ``.xlsx`` or ``.tsv``: the columns ``index``, ``question``, one
            for each letter, ``answer`` and ``category`` where known, and ``prediction``.
        results: answers in the order of the file.
        extracted: the letter that each names, ``""`` for none: then the table holds the answer as it is.

    Raises:
        OSError: the file cannot be written.
    """
    if path.suffix == ".json":
        write_json_list(path, ({"question_id": _whole(r.record_id), "answer": r.answer} for r in results))
        return
    table = _table(results, extracted)
    with written_aside(path) as unfinished:
        if path.suffix == ".tsv":
            with unfinished.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, dialect="excel-tab", lineterminator="\n").writerows(table)
        else:
            _write_excel(unfinished, table)


def _table(results: Sequence[AnswerResult], extracted: Sequence[str]) -> list[list[Any]]:
    letters = LETTERS[: max((len(result.truth.choices) for result in results), default=0)]
    table: list[list[Any]] = [["index", "question", *letters]]
    for result in results:
        options = [*result.truth.choices, *[""] * (len(letters) - len(result.truth.choices))]
        table.append([_whole(result.record_id), result.truth.question, *options])
    for name, values in (
        ("answer", [result.truth.label for result in results]),
        ("category", [result.truth.category for result in results]),
        ("prediction", [letter or result.answer for letter, result in zip(extracted, results)]),
    ):
        if any(values) or name == "prediction":
            for line, value in zip(table, [name, *values]):
                line.append(value)
    return table


def _write_excel(path: Path, table: Sequence[Sequence[Any]]) -> None:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    for line in table:
        cells = []
        for value in line:
            cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub("", value) if isinstance(value, str) else value)
            if isinstance(value, str):
                cell.data_type = "s"  # a text that begins with "=" is no formula
            cells.append(cell)
        sheet.append(cells)
    book.save(path)


def _whole(record_id: str) -> int | str:
    """An id as a whole number where it is one."""
    return int(record_id) if record_id.isdecimal() else record_id
