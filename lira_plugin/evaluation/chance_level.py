"""What a model that looks at nothing would score, to be read beside a score."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lira_plugin.evaluation.answer_rules import ANSWER_RULES, AnswerResult, RuleName, judge_answer, summarise_answers
from lira_plugin.evaluation.record_metric import RecordMetric
from lira_plugin.registry import METRICS
from lira_plugin.structures import AnswerTruth, GroundedText, GroundingSample

HEADLINES: dict[RuleName, str] = {"pope": "mean_F1", "mmbench": "circular_accuracy", "attreval": "pair_accuracy"}
"""The figure that tables show of a suite, where it is not ``accuracy``."""
_CANDIDATES = 20
"""Frequent answers that are tried as the one answer to all questions."""


@METRICS.register_module()
class ChanceLevel(RecordMetric):
    """``<source>/chance``: the figure of :data:`HEADLINES` without looking, see :func:`chance_level`. Answers do not matter.

    Args:
        rule: as that of the suite's :class:`~lira_plugin.evaluation.AnswerMetric`.
        prefix: put in front of the keys; none by default.

    Raises:
        ValueError: there is no such rule.
    """

    def __init__(self, rule: RuleName, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        if rule not in ANSWER_RULES:
            raise ValueError(f"rule must be one of {list(ANSWER_RULES)}, got {rule!r}")
        self.rule = rule

    def score(self, sample: GroundingSample, answer: GroundedText) -> tuple[str, AnswerTruth | None]:
        """The source and what is true of a question."""
        return sample.source, sample.truth

    def compute_metrics(self, results: list[tuple[str, Any]]) -> dict[str, float]:
        """The level of each source whose truth is known."""
        groups: dict[str, list[AnswerTruth]] = {}
        for source, truth in results:
            if isinstance(truth, AnswerTruth) and truth.is_known:
                groups.setdefault(source, []).append(truth)
        return {f"{source}/chance": chance_level(self.rule, truths) for source, truths in groups.items()}


def headline(rule: RuleName) -> str:
    """The name of the figure that tables show of a suite."""
    return HEADLINES.get(rule, "accuracy")


def chance_level(rule: RuleName, truths: Sequence[AnswerTruth]) -> float:
    """The figure :func:`headline` of a model that does not look.

    With choices it guesses one of them: the expected figure. In AttrEval it guesses yes or no: a quarter of the pairs. Else it
    gives one answer to all questions: that of the frequent ones which scores best.

    Args:
        rule: of the suite.
        truths: at least one, each known.
    """
    if rule == "attreval":
        return 0.25
    if all(truth.choices for truth in truths):
        return _guessed(truths, by_group=headline(rule) == "circular_accuracy")
    counts = Counter(text for truth in truths for text in truth.answers or (truth.label,))
    return max(_constant(rule, answer, truths) for answer, _ in counts.most_common(_CANDIDATES))


def _guessed(truths: Sequence[AnswerTruth], by_group: bool) -> float:
    groups: dict[str, list[float]] = {}
    for index, truth in enumerate(truths):
        key = truth.group if by_group and truth.group else f"alone {index}"
        groups.setdefault(key, []).append(1 / len(truth.choices))
    return sum(map(math.prod, groups.values())) / len(groups)


def _constant(rule: RuleName, answer: str, truths: Sequence[AnswerTruth]) -> float:
    results = [AnswerResult("", answer, truth, judge_answer(rule, answer, truth)) for truth in truths]
    return summarise_answers(rule, results)[headline(rule)]
