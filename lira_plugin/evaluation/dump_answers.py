"""Answers as a file, for scorers outside of the training framework and for looking at them."""

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from lira_plugin.evaluation.record_metric import RecordMetric, check_answer
from lira_plugin.evaluation.refer_seg_metric import annotated_masks
from lira_plugin.registry import METRICS
from lira_plugin.structures import GroundedText, GroundingSample, encode_mask
from lira_plugin.written_aside import json_line, write_text


@METRICS.register_module()
class DumpAnswers(RecordMetric):
    """Writes one JSON object a line and record, in the order of the data set.

    Of a dialogue the last question is asked, after those before it with their true answers. Keys are ``source``,
    ``record_id``, ``image`` (path, or null), ``question`` and those of
    :meth:`~lira_plugin.structures.GroundedText.to_json`: ``text``, ``raw_text``, ``finished`` and ``spans``, whose masks
    are COCO's compressed RLE at the size of the image. Samples of referring segmentation, which have one region, add ``target``
    and ``ignore``, each an RLE or null: with them a line is what :mod:`~lira_plugin.evaluation.refer_lines` scores.

    Its values are ``<source>/answers`` (count), ``<source>/finished`` (fraction that ended before the token limit) and
    ``<source>/spans`` (mean count of an answer).

    Args:
        out_file: the file; folders are made.
        prefix: put in front of the keys; none by default.
    """

    def __init__(self, out_file: str | Path, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        self.out_file = Path(out_file)

    def score(self, sample: GroundingSample, answer: GroundedText) -> dict[str, Any]:
        """The object of a line."""
        check_answer(sample, answer, GroundedText)
        return {
            "source": sample.source,
            "record_id": sample.record_id,
            "image": sample.image_key,
            "question": sample.question,
            **answer.to_json(),
            **(_annotation(sample) if len(sample.regions) == 1 else {}),
        }

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Write the file and count."""
        write_text(self.out_file, "".join(json_line(result) + "\n" for result in results))
        print_log(f"wrote {len(results)} answers to {self.out_file}", logger="current")
        metrics: dict[str, float] = {}
        for source in dict.fromkeys(result["source"] for result in results):
            own = [result for result in results if result["source"] == source]
            metrics[f"{source}/answers"] = float(len(own))
            metrics[f"{source}/finished"] = float(np.mean([result["finished"] for result in own]))
            metrics[f"{source}/spans"] = float(np.mean([len(result["spans"]) for result in own]))
        return metrics


def _annotation(sample: GroundingSample) -> dict[str, Any]:
    target, ignore = annotated_masks(sample)
    return {
        "target": encode_mask(target) if sample.regions[0].has_target else None,
        "ignore": None if ignore is None else encode_mask(ignore),
    }
