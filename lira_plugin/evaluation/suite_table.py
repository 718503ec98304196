"""Scores of many suites in one table, beside the paper's and chance level."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lira_plugin.evaluation.answer_rules import RuleName
from lira_plugin.evaluation.chance_level import headline

PAPER_MODELS = ("LIRA-2B", "LIRA-8B", "LIRA (Qwen2-1.5B)")
PAPER: dict[str, tuple[str, float, float, float]] = {
    "vizwiz/val": ("VizWiz", 67.8, 71.5, 73.1),
    "gqa/testdev": ("GQA", 61.1, 63.5, 62.5),
    "vqav2/val": ("VQAv2", 77.2, 80.4, 79.7),
    "okvqa/val": ("OKVQA", 53.7, 62.9, 58.5),
    "scienceqa/test": ("SciQA", 95.0, 97.3, 91.7),
    "pope": ("POPE", 89.1, 88.1, 87.3),
    "mmbench_en/dev": ("MMBench-en", 74.0, 81.1, 76.8),
    "mmbench_cn/dev": ("MMBench-cn", 71.7, 80.5, 74.2),
}
"""The supplement's Table 2 by source: what it calls the suite, and the scores of :data:`PAPER_MODELS`. Its MMBench is the test
split, which a server scores."""


@dataclass(frozen=True)
class SuiteResult:
    """What a suite gave.

    Args:
        suite: name of the suite.
        source: of its data set; the keys of figures begin with it.
        rule: by which answers were scored.
        figures: by name.
        seconds: that the test took.
        settings: what the figures depend on, in plain types.
    """

    suite: str
    source: str
    rule: RuleName
    figures: Mapping[str, float]
    seconds: float
    settings: Mapping[str, Any]

    @property
    def score(self) -> float | None:
        """The figure that stands for the suite; None where only a server knows the truth."""
        return self.figures.get(f"{self.source}/{headline(self.rule)}")

    @property
    def chance(self) -> float | None:
        """That figure without looking at the images."""
        return self.figures.get(f"{self.source}/chance")


def suite_table(results: Sequence[SuiteResult]) -> list[list[str]]:
    """Lines of a table, its head first, in the order of the paper's table and then of the results.

    Scores are in percent; a dash stands for what there is not.
    """
    order = list(PAPER)
    known = sorted((result for result in results if result.source in order), key=lambda each: order.index(each.source))
    others = [result for result in results if result.source not in order]
    lines = [["suite", "figure", "ours", "chance", "questions", *PAPER_MODELS]]
    for result in (*known, *others):
        name, *paper = PAPER.get(result.source, (result.source, *[None] * len(PAPER_MODELS)))
        questions = result.figures.get(f"{result.source}/questions")
        cells = [_percent(result.score), _percent(result.chance), "-" if questions is None else f"{questions:,.0f}"]
        cells += ["-" if score is None else f"{score:.1f}" for score in paper]
        lines.append([name, headline(result.rule), *cells])
    return lines


def as_text(lines: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    cells = (
        [cell.ljust(width) if index < 2 else cell.rjust(width) for index, (cell, width) in enumerate(zip(line, widths))]
        for line in lines
    )
    return "\n".join("  ".join(line).rstrip() for line in cells)


def as_markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table for a document."""
    head, *rest = lines
    rule = ["---", "---", *["---:"] * (len(head) - 2)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rest))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
