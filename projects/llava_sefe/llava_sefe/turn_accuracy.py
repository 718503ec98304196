"""Held-out loss and the share of right answers of dialogues."""

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric

from lira_plugin.registry import METRICS


@METRICS.register_module()
class TurnAccuracy(BaseMetric):
    """``loss``: mean over the answers' tokens; ``accuracy``: share of answers that greedy decoding gives word for word.

    Every answer is asked for after the true answers before it.
    """

    default_prefix = "llava"

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, float]]) -> None:
        """Keep the sums of each dialogue."""
        self.results += list(data_samples)

    def compute_metrics(self, results: list[dict[str, float]]) -> dict[str, float]:
        """Divide what all dialogues sum up to."""
        loss, tokens, right, answers = (
            sum(result[key] for result in results) for key in ("loss", "tokens", "right", "answers")
        )
        return {"loss": loss / tokens, "accuracy": right / answers, "answers": answers}
