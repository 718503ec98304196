"""Answers in words, scored by the rule of their suite."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from lira_plugin.evaluation.answer_rules import ANSWER_RULES, AnswerResult, RuleName, judge_answer, summarise_answers
from lira_plugin.evaluation.answer_tables import check_submission, write_submission
from lira_plugin.evaluation.choice_letters import choice_letter
from lira_plugin.evaluation.protocol import with_hashes
from lira_plugin.evaluation.record_metric import RecordMetric, check_answer
from lira_plugin.registry import METRICS
from lira_plugin.structures import AnswerTruth, GroundedText, GroundingSample
from lira_plugin.written_aside import json_line, write_json, write_text


@METRICS.register_module()
class AnswerMetric(RecordMetric):
    """Accuracy of answers in words, grouped by ``sample.source``.

    Keys are ``<source>/<name>`` and ``<source>/<category>/<name>``, such as ``gqa/testdev/accuracy``. ``<source>/questions`` is a
    count. Values are fractions, but for MME's scores. ``accuracy`` is the reference's rule where suites have several.

    ============ =====================================================================================================
    vqa          ``accuracy``: agreement with ten people, see :func:`~lira_plugin.evaluation.vqa_scores.vqa_accuracy`
    gqa          ``accuracy`` after LIRA's extraction, ``accuracy_official``
    scienceqa    ``accuracy`` by LIRA's rule, ``accuracy_tolerant``; ``image/accuracy`` where ``image`` is a category
    choice       ``accuracy``: the letter alone; ``accuracy_tolerant``
    mmbench      ``accuracy`` of answers, ``circular_accuracy`` of groups
    pope         ``accuracy``, ``precision``, ``recall``, ``F1``, ``yes_share``; ``mean_F1`` over the categories
    relaxed      ``accuracy``: ChartQA's 5 %
    mme          ``accuracy``; by category ``accuracy``, ``accuracy_plus``, ``score``; sums ``perception``, ``cognition``
    attreval     see :class:`~lira_plugin.evaluation.AttrEvalMetric`
    seed         ``accuracy``, by type, ``image/accuracy``, ``video/accuracy``
    ============ =====================================================================================================

    Args:
        rule: of the suite, see above.
        out_file: JSON file for the figures and the settings that they depend on, or None.
        dump: JSON Lines file for one object a question, or None. ``tools/score.py`` can score it again.
        submission: file that a server scores, or None: ``.xlsx`` or ``.tsv`` for MMBench's table, ``.json`` for the list of
            VQAv2's server. With it, questions whose truth is not known are no error.
        prefix: put in front of the keys; none by default.

    Raises:
        ImportError: openpyxl is needed and not installed.
        ValueError: there is no such rule, or the submission has another suffix.
    """

    def __init__(
        self,
        rule: RuleName,
        out_file: str | Path | None = None,
        dump: str | Path | None = None,
        submission: str | Path | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        if rule not in ANSWER_RULES:
            raise ValueError(f"rule must be one of {list(ANSWER_RULES)}, got {rule!r}")
        self.rule = rule
        self.out_file, self.dump = out_file, dump
        self.submission = None if submission is None else Path(submission)
        if self.submission is not None:
            check_submission(self.submission)
        self.settings: dict[str, Any] = {"rule": rule, "rule_help": ANSWER_RULES[rule].help}

    def take_settings(self, settings: Mapping[str, Any]) -> None:
        """Take what else the figures depend on, in plain types; ``data``, with ``files`` by source, gets the files' hashes."""
        self.settings |= settings

    def score(self, sample: GroundingSample, answer: GroundedText) -> tuple[str, str, AnswerResult]:
        """Source, question and result of one record.

        Raises:
            ValueError: the record has no truth, or one that the rule cannot take, or the answer is no grounded text.
        """
        check_answer(sample, answer, GroundedText)
        truth = sample.truth
        if not isinstance(truth, AnswerTruth) or not (truth.is_known or self.submission):
            raise ValueError(
                f"{sample.name}: there is no truth to score the answer by; the reader must set Record.truth, or set "
                "'submission' of AnswerMetric to write the answers for a server"
            )
        try:
            judged = judge_answer(self.rule, answer.text, truth) if truth.is_known else None
        except ValueError as error:
            raise ValueError(f"{sample.name}: {error}") from error
        return sample.source, sample.question, AnswerResult(sample.record_id, answer.text, truth, judged)

    def compute_metrics(self, results: list[tuple[str, str, AnswerResult]]) -> dict[str, float]:
        """Summarise the results by source, and write the files.

        Raises:
            ValueError: a submission is asked for, and the answers are of several sources.
        """
        groups: dict[str, list[AnswerResult]] = {}
        for source, _, result in results:
            groups.setdefault(source, []).append(result)
        figures = {
            f"{source}/{name}": value
            for source, own in groups.items()
            for name, value in summarise_answers(self.rule, own).items()
        }
        if self.submission is not None:
            self._submit(groups)
        if self.dump is not None:
            entries = ({"source": source, "question": asked} | result.to_json() for source, asked, result in results)
            write_text(self.dump, "".join(json_line(entry) + "\n" for entry in entries))
        if self.out_file is not None:
            settings = self.settings | {"data": with_hashes(self.settings.get("data", {}))}
            write_json(self.out_file, {"figures": figures, "settings": settings}, indent=1)
        return figures

    def _submit(self, groups: Mapping[str, list[AnswerResult]]) -> None:
        if len(groups) != 1:
            raise ValueError(
                f"{self.submission} is for one suite, but the answers are of {list(groups)}: test them apart"
            )
        (results,) = groups.values()
        letters = [
            choice_letter(result.answer, result.truth.choices) if result.truth.choices else "" for result in results
        ]
        write_submission(self.submission, results, letters)
        print_log(f"wrote {len(results)} answers for the server to {self.submission}", logger="current")
