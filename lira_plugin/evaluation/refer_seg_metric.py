"""Scores of referring segmentation: RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO and ReasonSeg."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from mmengine.logging import print_log

from lira_plugin.evaluation.mask_iou import bool_mask
from lira_plugin.evaluation.protocol import with_hashes
from lira_plugin.evaluation.record_metric import RecordMetric, check_answer
from lira_plugin.evaluation.refer_figures import figures_by_rule, presence_figures
from lira_plugin.evaluation.refer_scores import SentenceScore, score_sentence
from lira_plugin.registry import METRICS
from lira_plugin.structures import GroundedText, GroundingSample, MaskStage, decode_union
from lira_plugin.written_aside import write_json, write_json_list

MASK_STAGES: tuple[MaskStage, ...] = ("refined", "coarse")

SpanRule = Literal["first", "union"]
"""Which masks of an answer make the one that counts: that of its first span, or the union of all."""


@dataclass(frozen=True)
class ScoredSentence:
    """One sentence: what it is, and its scores by mask stage and rule of pixels.

    Args:
        entry: numbers and strings, ready for JSON; without the scores.
        scores: by (mask stage, least count of pixels).
        signals: probabilities that speak for a target: of the best mask, and of a ``<seg>`` at the start where that is known.
    """

    entry: dict[str, Any]
    scores: dict[tuple[MaskStage, int], SentenceScore]
    signals: tuple[float, ...]


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
    box_P@0.5  the same of the boxes around the two masks: accuracy of referring comprehension (REC)
    N-acc      fraction of the no-target sentences answered with an empty mask
    T-acc      fraction of the target sentences answered with a non-empty mask
    ========== =====================================================================================================

    N-acc and T-acc appear where the source has no-target sentences, P@t and T-acc where it has target sentences. They
    follow the GRES paper (arXiv 2306.00968, section 3) and ReLA's ``refer_evaluation.py`` since its commit 884ef17; the
    versions before added 1 to the denominators. ``missing_seg`` is the fraction of answers without any ``<seg>``. Pixels of
    ``Region.ignored`` count neither for nor against, as in LISA's ReasonSeg; a target that is ignored as a whole is found by an
    empty mask.

    Args:
        skip_missing: what an answer without ``<seg>`` counts as. False: an empty mask. True, as LIRA's own script
            (``omg_llava/tools/refcoco_lira.py``): nothing in cIoU, so that the missed object is lost from U, and 0 in
            gIoU even without a target. N-acc and T-acc see an empty mask either way.
        min_pixels: a predicted mask of fewer pixels counts as empty; gRefCOCO's rule is 50. Of several values each gives figures;
            the names of those after the first end with ``_<value>px``.
        dump: JSON file to write, one object a sentence, or None.
        prefix: put in front of the keys; none by default.
        spans: ``first``: only the first span of an answer counts. ``union``: the masks of all spans are united.
        presence: also empty the masks whose calibrated presence is low, and say what that gives as ``<source>/presence/<name>``
            (:func:`~lira_plugin.evaluation.refer_figures.presence_figures`).
        combined: further groups, each made of several sources: ``{"reasonseg/val/all": ["reasonseg/val/short", ...]}``. One
            of whose sources there is no record is made of the others.
        out_file: JSON file for the figures, the settings that they depend on (these, and those of the data with the hashes of
            its files), and the sweeps of presence; or None.

    Raises:
        ValueError: ``min_pixels`` is negative, or there is none.
    """

    def __init__(
        self,
        skip_missing: bool = False,
        min_pixels: int | Sequence[int] = 0,
        dump: str | Path | None = None,
        prefix: str | None = None,
        spans: SpanRule = "first",
        presence: bool = False,
        combined: Mapping[str, Sequence[str]] | None = None,
        out_file: str | Path | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        self._rules = (min_pixels,) if isinstance(min_pixels, int) else tuple(min_pixels)
        if not self._rules or min(self._rules) < 0:
            raise ValueError(f"min_pixels must not be negative, nor an empty list, got {min_pixels}")
        self.skip_missing = skip_missing
        self.min_pixels = min_pixels
        self.dump = None if dump is None else Path(dump)
        self.spans = spans
        self.presence = presence
        self.combined = dict(combined or {})
        self.out_file = None if out_file is None else Path(out_file)
        self.settings: dict[str, Any] = {
            "answers_without_seg": "skipped" if skip_missing else "empty masks",
            "spans": spans,
            "mask_stages": list(MASK_STAGES),
            "min_pixels": list(self._rules),
            "presence": "each half calibrated on the other" if presence else None,
            "combined": {name: list(sources) for name, sources in self.combined.items()},
        }

    def take_settings(self, settings: Mapping[str, Any]) -> None:
        """Take what else the figures depend on, in plain types; ``data``, with ``files`` by source, gets the files' hashes."""
        self.settings |= settings

    def compute_metrics(self, results: list[ScoredSentence]) -> dict[str, float]:
        """Summarise the results by source, and write them to ``dump`` and ``out_file``."""
        groups: dict[str, list[ScoredSentence]] = {}
        for scored in results:
            groups.setdefault(scored.entry["source"], []).append(scored)
        for source, own in groups.items():
            _warn_of_empty(source, own)
        for name, sources in self.combined.items():
            united = [scored for source in sources for scored in groups.get(source, ())]
            if united:
                groups[name] = united
        if self.dump is not None:
            write_json_list(self.dump, (self._dumped(scored) for scored in results))
            print_log(f"wrote the scores of {len(results)} sentences to {self.dump}", logger="current")
        figures: dict[str, float] = {}
        details: dict[str, Any] = {}
        for source, own in groups.items():
            for stage in MASK_STAGES:
                by_rule = {rule: [scored.scores[stage, rule] for scored in own] for rule in self._rules}
                figures.update({f"{source}/{stage}/{name}": value for name, value in figures_by_rule(by_rule).items()})
            figures[f"{source}/missing_seg"] = float(np.mean([scored.entry["missing_seg"] for scored in own]))
            if self.presence:
                found, details[source] = self._presence(own)
                figures.update({f"{source}/presence/{name}": value for name, value in found.items()})
        if self.out_file is not None:
            settings = self.settings | {"data": with_hashes(self.settings.get("data", {}))}
            content = {"figures": figures, "settings": settings} | ({"presence": details} if self.presence else {})
            write_json(self.out_file, content, indent=1)
        return figures

    def score(self, sample: GroundingSample, answer: GroundedText) -> ScoredSentence:
        """The scores of one sentence.

        Raises:
            ValueError: the sample does not have exactly one region or does not know its size, or a mask has another size
                than the image or is not of bool, or the answer is no grounded text.
        """
        check_answer(sample, answer, GroundedText)
        target, ignore = annotated_masks(sample)
        has_target = sample.regions[0].has_target
        scores: dict[tuple[MaskStage, int], SentenceScore] = {}
        for stage in MASK_STAGES:
            mask = self._mask(sample, answer, stage, target.shape)
            for rule in self._rules:
                scores[stage, rule] = score_sentence(
                    mask,
                    target,
                    has_target=has_target,
                    ignore=ignore,
                    min_pixels=rule,
                    skip_missing=self.skip_missing,
                )
        best = max((span.score for span in answer.spans), default=0.0)
        entry = {
            "source": sample.source,
            "record_id": sample.record_id,
            "image": sample.image_key,
            "question": sample.question,
            "text": answer.text,
            "missing_seg": not answer.spans,
            "target_pixels": int(np.count_nonzero(target)),
            "no_target": not has_target,
            "score": best,
            "seg_prob": answer.seg_prob,
        }
        return ScoredSentence(entry, scores, (best,) if answer.seg_prob is None else (best, answer.seg_prob))

    def _mask(
        self, sample: GroundingSample, answer: GroundedText, stage: MaskStage, shape: tuple[int, int]
    ) -> np.ndarray | None:
        """The mask that counts, (H, W) bool; None of an answer without ``<seg>``."""
        union = None
        for span in answer.spans[:1] if self.spans == "first" else answer.spans:
            mask = bool_mask(span.mask_of(stage), f"{sample.name}: the {stage} mask")
            if mask.shape != shape:
                raise ValueError(f"{sample.name}: the {stage} mask is {mask.shape}, but the image is {shape}")
            union = mask if union is None else union | mask
        return union

    def _presence(self, results: list[ScoredSentence]) -> tuple[dict[str, float], dict[str, Any]]:
        # the second signal counts where all answers have it
        count = min(len(scored.signals) for scored in results)
        scores = [scored.scores["refined", self._rules[0]] for scored in results]
        return presence_figures([scored.signals[:count] for scored in results], scores)

    def _dumped(self, scored: ScoredSentence) -> dict[str, Any]:
        entry = dict(scored.entry)
        for stage in MASK_STAGES:
            score = scored.scores[stage, self._rules[0]]
            entry |= {
                f"{stage}_I": score.intersection,
                f"{stage}_U": score.union,
                f"{stage}_iou": score.iou,
                f"{stage}_box_iou": score.box_iou,
                f"{stage}_pixels": score.pixels,
            }
        return entry


def _warn_of_empty(source: str, results: list[ScoredSentence]) -> None:
    """Name the sentences whose target has no pixel."""
    entries = [scored.entry for scored in results]
    empty = [entry["record_id"] for entry in entries if not entry["no_target"] and not entry["target_pixels"]]
    if empty:
        shown = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
        print_log(
            f"{source}: the masks of {len(empty)} of {len(results)} sentences have no pixel ({shown}); they count as targets "
            "that no answer finds: repair the annotations, or leave the sentences out",
            logger="current",
            level=logging.WARNING,
        )


def annotated_masks(sample: GroundingSample) -> tuple[np.ndarray, np.ndarray | None]:
    """The ground truth of the one region of ``sample`` and what to ignore (None for nothing), (H, W) bool at original size.

    Raises:
        ValueError: there is not one region, the size of the image is unknown, or a mask has another.
    """
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
    region = sample.regions[0]
    try:
        target = decode_union(region.segmentations, height, width)
        return target, decode_union(region.ignored, height, width) if region.ignored else None
    except ValueError as error:
        raise ValueError(f"{sample.name}: {error}") from error
