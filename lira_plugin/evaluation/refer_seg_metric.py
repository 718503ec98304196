"""Scores of referring segmentation: RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from lira_plugin.evaluation.mask_iou import bool_mask, intersection_union, iou_from_counts
from lira_plugin.evaluation.record_metric import RecordMetric, check_answer
from lira_plugin.registry import METRICS
from lira_plugin.structures import GroundedText, GroundingSample, MaskStage, decode_union
from lira_plugin.written_aside import write_json_list

MASK_STAGES: tuple[MaskStage, ...] = ("refined", "coarse")

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""IoU thresholds of P@t."""


@METRICS.register_module()
class ReferSegMetric(RecordMetric):
    """Scores of one mask a sentence, grouped by ``sample.source``.

    Keys are ``<source>/<refined|coarse>/<name>``, such as ``refcoco/val/refined/cIoU``, and ``<source>/missing_seg``.
    Values are fractions, 0 to 1. I and U are the intersection and union of one sentence in pixels of the original
    image. A *no-target* sentence is one that is annotated to name nothing: its region has no segmentation at all. The others
    are *target* sentences. One whose annotation has no pixel is among them, and no answer to it is right; such ones are logged.

    ========== =====================================================================================================
    cIoU       sum of I / sum of U over all sentences (mmdet's and LISA's cIoU; "oIoU" elsewhere)
    gIoU       mean over all sentences of I / U (LISA's and gRefCOCO's gIoU; mmdet's ``RefSegMetric`` calls it mIoU).
               Without a target an empty mask scores 1 and any other 0.
    P@0.5-0.9  fraction of the target sentences with I / U >= t (``>=`` as LAVT and ReLA; LISA and mmdet have none)
    N-acc      fraction of the no-target sentences answered with an empty mask
    T-acc      fraction of the target sentences answered with a non-empty mask
    ========== =====================================================================================================

    N-acc and T-acc appear where the source has no-target sentences, P@t and T-acc where it has target sentences. They
    follow the GRES paper (arXiv 2306.00968, section 3) and ReLA's ``refer_evaluation.py`` since its commit 884ef17; the
    versions before added 1 to the denominators. ``missing_seg`` is the fraction of answers without any ``<seg>``. Only the
    first span of an answer counts.

    Args:
        skip_missing: what an answer without ``<seg>`` counts as. False: an empty mask. True, as LIRA's own script
            (``omg_llava/tools/refcoco_lira.py``): nothing in cIoU, so that the missed object is lost from U, and 0 in
            gIoU even without a target. N-acc and T-acc see an empty mask either way.
        min_pixels: a predicted mask of fewer pixels counts as empty; gRefCOCO's rule is 50.
        dump: JSON file to write, one object a sentence, or None.
        prefix: put in front of the keys; none by default.
    """

    def __init__(
        self,
        skip_missing: bool = False,
        min_pixels: int = 0,
        dump: str | Path | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        if min_pixels < 0:
            raise ValueError(f"min_pixels must not be negative, got {min_pixels}")
        self.skip_missing = skip_missing
        self.min_pixels = min_pixels
        self.dump = None if dump is None else Path(dump)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Summarise the results by source, and write them to ``dump``."""
        groups: dict[str, list[dict[str, Any]]] = {}
        for result in results:
            groups.setdefault(result["source"], []).append(result)
        if self.dump is not None:
            write_json_list(self.dump, results)
            print_log(f"wrote the scores of {len(results)} sentences to {self.dump}", logger="current")
        metrics: dict[str, float] = {}
        for source, own in groups.items():
            _warn_of_empty(source, own)
            for stage in MASK_STAGES:
                metrics.update({f"{source}/{stage}/{name}": value for name, value in self._summary(own, stage).items()})
            metrics[f"{source}/missing_seg"] = _fraction(result["missing_seg"] for result in own)
        return metrics

    def score(self, sample: GroundingSample, answer: GroundedText) -> dict[str, Any]:
        """Numbers and strings of one sentence.

        Raises:
            ValueError: the sample does not have exactly one region or does not know its size, or a mask has another size
                than the image or is not of bool, or the answer is no grounded text.
        """
        check_answer(sample, answer, GroundedText)
        target = _target_mask(sample)
        span = answer.spans[0] if answer.spans else None
        result = {
            "source": sample.source,
            "record_id": sample.record_id,
            "image": sample.image_key,
            "question": sample.question,
            "text": answer.text,
            "missing_seg": span is None,
            "target_pixels": int(np.count_nonzero(target)),
            "no_target": not sample.regions[0].has_target,
        }
        for stage in MASK_STAGES:
            if span is None:
                mask = np.zeros_like(target)
            else:
                mask = bool_mask(span.mask_of(stage), f"{sample.name}: the {stage} mask")
            if mask.shape != target.shape:
                raise ValueError(f"{sample.name}: the {stage} mask is {mask.shape}, but the image is {target.shape}")
            if np.count_nonzero(mask) < self.min_pixels:
                mask = np.zeros_like(target)
            skipped = span is None and self.skip_missing
            intersection, union = (0, 0) if skipped else intersection_union(mask, target)
            result[f"{stage}_I"] = intersection
            result[f"{stage}_U"] = union
            rightly_empty = result["no_target"] and not skipped
            result[f"{stage}_iou"] = iou_from_counts(intersection, union, empty=float(rightly_empty))
            result[f"{stage}_pixels"] = int(np.count_nonzero(mask))
        return result

    def _summary(self, results: list[dict[str, Any]], stage: str) -> dict[str, float]:
        counted = [result for result in results if not (self.skip_missing and result["missing_seg"])]
        with_target = [result for result in results if not result["no_target"]]
        no_target = [result for result in results if result["no_target"]]
        summary = {
            "cIoU": iou_from_counts(
                sum(result[f"{stage}_I"] for result in results),
                sum(result[f"{stage}_U"] for result in results),
                empty=float(bool(counted) and all(result["no_target"] for result in counted)),
            ),
            "gIoU": float(np.mean([result[f"{stage}_iou"] for result in results])),
        }
        if with_target:
            for threshold in THRESHOLDS:
                summary[f"P@{threshold}"] = _fraction(result[f"{stage}_iou"] >= threshold for result in with_target)
        if no_target:
            summary["N-acc"] = _fraction(result[f"{stage}_pixels"] == 0 for result in no_target)
        if no_target and with_target:
            summary["T-acc"] = _fraction(result[f"{stage}_pixels"] > 0 for result in with_target)
        return summary


def _warn_of_empty(source: str, results: list[dict[str, Any]]) -> None:
    """Name the sentences whose target has no pixel."""
    empty = [result["record_id"] for result in results if not result["no_target"] and not result["target_pixels"]]
    if empty:
        shown = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        print_log(
            f"{source}: the masks of {len(empty)} of {len(results)} sentences have no pixel ({shown}); they count as targets "
            "that no answer finds: repair the annotations, or leave the sentences out",
            logger="current",
            level=logging.WARNING,
        )


def _fraction(flags: Any) -> float:
    return float(np.mean([bool(flag) for flag in flags]))


def _target_mask(sample: GroundingSample) -> np.ndarray:
    """The ground truth of the one region of ``sample``, (H, W) bool at original size."""
    if len(sample.regions) != 1:
        raise ValueError(
            f"{sample.name}: referring segmentation needs one region a sample, this one has {len(sample.regions)}; "
            "a sentence without a target has one region with no segmentations"
        )
    if sample.letterbox is not None:
        height, width = sample.letterbox.height, sample.letterbox.width
    elif sample.image is not None:
        height, width = sample.image.shape[:2]
    else:
        raise ValueError(f"{sample.name}: neither the letterbox nor the image was kept, so the image size is unknown")
    try:
        return decode_union(sample.regions[0].segmentations, height, width)
    except ValueError as error:
        raise ValueError(f"{sample.name}: {error}") from error
