"""AttrEval-VQA: does a model know an attribute of an object that the expression does not say?"""

from pathlib import Path
from typing import Any

from lira_plugin.evaluation.answer_metric import AnswerMetric
from lira_plugin.evaluation.answer_rules import AnswerResult
from lira_plugin.registry import METRICS
from lira_plugin.structures import AttributeTruth, GroundedText, GroundingSample


@METRICS.register_module()
class AttrEvalMetric(AnswerMetric):
    """Pairs of questions of which both answers are right, grouped by ``sample.source`` and by kind of attribute.

    Keys are ``<source>/<name>`` and, where the questions say the kind, ``<source>/<category|location|color>/<name>``. Values are
    fractions, but for the counts ``pairs`` and ``questions``. A model that guesses has a quarter of the pairs.

    ========================= ======================================================================================
    pair_accuracy             pairs with two right answers by the reference's rule: the answer is ``yes`` or ``no`` and nothing
                              else, in whatever case (``accuracy2`` of its ``evaluate_vqa.py``)
    pair_accuracy_tolerant    the same, where the first ``yes`` or ``no`` among the words of an answer counts
    accuracy                  single answers by the reference's rule
    accuracy_tolerant         single answers by the tolerant rule
    accuracy_where_yes        single answers by the reference's rule where yes is right; ``accuracy_where_no`` is the others
    yes_share                 answers that say yes, by the tolerant rule
    ========================= ======================================================================================

    Expressions of AttrEval-RefSeg in the same test are passed over: their truth is an
    :class:`~lira_plugin.structures.AttributeTruth`.

    Args:
        out_file, dump, prefix: see :class:`~lira_plugin.evaluation.AnswerMetric`.
    """

    def __init__(
        self, out_file: str | Path | None = None, dump: str | Path | None = None, prefix: str | None = None
    ) -> None:
        super().__init__("attreval", out_file, dump, prefix=prefix)

    def score(self, sample: GroundingSample, answer: GroundedText) -> tuple[str, str, AnswerResult] | None:
        """Source, question and result of one question; None for what is none of AttrEval-VQA's."""
        return None if isinstance(sample.truth, AttributeTruth) else super().score(sample, answer)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Summarise the results by source, and write the files.

        Raises:
            ValueError: there is no question, or a pair is not whole.
        """
        answered = [result for result in results if result is not None]
        if not answered:
            raise ValueError(
                "AttrEvalMetric scores pairs of questions, but none was asked: add AttrVqaDataset to the test"
            )
        return super().compute_metrics(answered)
