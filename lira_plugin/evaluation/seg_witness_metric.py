"""AttrEval-RefSeg: what the state of a ``<seg>`` knows of its object, and whether that goes with the quality of its mask."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lira_plugin.evaluation.attribute_ranks import Witness, attribute_figures, true_rank
from lira_plugin.evaluation.mask_iou import bool_mask
from lira_plugin.evaluation.protocol import with_hashes
from lira_plugin.evaluation.rank_correlation import correlate
from lira_plugin.evaluation.record_metric import RecordMetric, check_answer
from lira_plugin.evaluation.refer_scores import score_sentence
from lira_plugin.evaluation.refer_seg_metric import MASK_STAGES, annotated_masks
from lira_plugin.registry import METRICS
from lira_plugin.structures import AttributeTruth, GroundedSpan, GroundedText, GroundingSample, MaskStage
from lira_plugin.written_aside import json_line, write_json, write_text

_OVER_ALL_KINDS = ("top1", "top5", "missing")


@dataclass(frozen=True)
class WitnessedRecord:
    """One record.

    Args:
        entry: what it is, ready for JSON.
        source, kind: groups that it counts in.
        witnesses: by mask stage.
    """

    entry: dict[str, Any]
    source: str
    kind: str
    witnesses: Mapping[MaskStage, Witness]


@METRICS.register_module()
class SegWitnessMetric(RecordMetric):
    """Ranks of a true attribute among the words at the ``<seg>``, and their correlation with the IoU of its mask.

    A record asks for an object without saying an attribute of it, which its :class:`~lira_plugin.structures.AttributeTruth` says.
    The model has to be asked for words: ``model.generation.seg_words``. Records with another truth are left to other metrics.
    Only the first span of an answer counts.

    Keys are ``<source>/<coarse|refined>/<kind>/<name>``. Names are those of
    :func:`~lira_plugin.evaluation.attribute_ranks.attribute_figures`, and:

    ===================== ============================================================================================
    rho_prob              Spearman's correlation, over objects, of the true value's probability with the IoU of the mask
    rho_rank              the same of its rank; positive where the better rank goes with the better mask
    ..._low, ..._high     ends of their intervals: 95 of 100 draws of the images with replacement lie between them
    ===================== ============================================================================================

    Answers without ``<seg>`` are no part of the correlations. ``<source>/<stage>/top1``, ``top5`` and ``missing`` are over all
    kinds.

    Args:
        out_file: JSON file for the figures and the settings that they depend on, or None.
        dump: JSON Lines file for one object a record, or None.
        draws: of the bootstrap.
        seed: of the draws.
        prefix: put in front of the keys; none by default.
    """

    def __init__(
        self,
        out_file: str | Path | None = None,
        dump: str | Path | None = None,
        draws: int = 2000,
        seed: int = 0,
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        if draws < 1:
            raise ValueError(f"draws must be positive, got {draws}")
        self.out_file, self.dump, self.draws, self.seed = out_file, dump, draws, seed
        self.settings: dict[str, Any] = {
            "spans": "first",
            "mask_stages": list(MASK_STAGES),
            "draws": draws,
            "seed": seed,
        }

    def take_settings(self, settings: Mapping[str, Any]) -> None:
        """Take what else the figures depend on, in plain types; ``data``, with ``files`` by source, gets the files' hashes."""
        self.settings |= settings

    def score(self, sample: GroundingSample, answer: GroundedText) -> WitnessedRecord | None:
        """The witnesses of one record; None where its truth is no attribute.

        Raises:
            ValueError: the answer was not asked for words of this kind, or its set lacks the true value; or see
                :func:`~lira_plugin.evaluation.refer_seg_metric.annotated_masks`.
        """
        check_answer(sample, answer, GroundedText)
        truth = sample.truth
        if not isinstance(truth, AttributeTruth):
            return None
        target, ignore = annotated_masks(sample)
        image = sample.image_key or sample.record_id
        entry = {
            "source": sample.source,
            "record_id": sample.record_id,
            "ann_id": truth.ann_id,
            "image": image,
            "question": sample.question,
            "text": answer.text,
            "attribute": truth.kind,
            "value": truth.value,
            "missing_seg": not answer.spans,
        }
        span = answer.spans[0] if answer.spans else None
        witnesses: dict[MaskStage, Witness] = {}
        for stage in MASK_STAGES:
            mask = None if span is None else bool_mask(span.mask_of(stage), f"{sample.name}: the {stage} mask")
            try:
                iou = score_sentence(mask, target, has_target=True, ignore=ignore).iou
                log_probs = None if span is None else _words_of(span, stage, truth)
                ranked = {} if span is None else true_rank(log_probs, truth.value)._asdict()
            except ValueError as error:
                raise ValueError(f"{sample.name}: {error}") from error
            witnesses[stage] = Witness(image, truth.value, log_probs, iou)
            found = {"iou": iou, **ranked} | ({} if span is None else {"words": dict(log_probs)})
            entry |= {f"{stage}_{name}": value for name, value in found.items()}
        return WitnessedRecord(entry, sample.source, truth.kind, witnesses)

    def compute_metrics(self, results: list[WitnessedRecord | None]) -> dict[str, float]:
        """Summarise the records by source, stage and kind, and write the files.

        Raises:
            ValueError: no record has an attribute to look for.
        """
        results = [result for result in results if result is not None]
        if not results:
            raise ValueError(
                "no record has an attribute to look for: SegWitnessMetric needs a data set that sets Record.truth to an "
                "AttributeTruth, such as AttrSegDataset"
            )
        groups: dict[str, dict[str, list[WitnessedRecord]]] = {}
        for result in results:
            groups.setdefault(result.source, {}).setdefault(result.kind, []).append(result)
        figures: dict[str, float] = {}
        for source, kinds in groups.items():
            for stage in MASK_STAGES:
                own = {kind: [record.witnesses[stage] for record in records] for kind, records in kinds.items()}
                figures |= {f"{source}/{stage}/{name}": value for name, value in self._of_stage(own).items()}
        if self.dump is not None:
            write_text(self.dump, "".join(json_line(result.entry) + "\n" for result in results))
        if self.out_file is not None:
            settings = self.settings | {"data": with_hashes(self.settings.get("data", {}))}
            write_json(self.out_file, {"figures": figures, "settings": settings}, indent=1)
        return figures

    def _of_stage(self, witnesses: Mapping[str, list[Witness]]) -> dict[str, float]:
        """Figures of the kinds of attributes at one stage."""
        by_kind = {kind: attribute_figures(own) for kind, own in witnesses.items()}
        count = sum(map(len, witnesses.values()))
        figures = {
            name: sum(by_kind[kind][name] * len(own) for kind, own in witnesses.items()) / count
            for name in _OVER_ALL_KINDS
        }
        for kind, own in witnesses.items():
            found = by_kind[kind] | self._correlations(own)
            figures |= {f"{kind}/{name}": value for name, value in found.items()}
        return figures

    def _correlations(self, witnesses: list[Witness]) -> dict[str, float]:
        known = [item for item in witnesses if item.log_probs is not None]
        ranks = [true_rank(item.log_probs, item.value) for item in known]
        sides = {"rho_prob": [rank.prob for rank in ranks], "rho_rank": [-rank.rank for rank in ranks]}
        figures: dict[str, float] = {}
        for name, values in sides.items():
            found = correlate(
                values, [item.iou for item in known], [item.image for item in known], self.draws, self.seed
            )
            if found is not None:
                figures |= {name: found.rho, f"{name}_low": found.low, f"{name}_high": found.high}
        return figures


def _words_of(span: GroundedSpan, stage: MaskStage, truth: AttributeTruth) -> Mapping[str, float]:
    """The words of a kind at the ``<seg>`` of a stage.

    Raises:
        ValueError: they were not asked for.
    """
    words = span.words_of(stage)
    if words is None or truth.kind not in words:
        asked = "nothing" if words is None else ", ".join(map(repr, words))
        raise ValueError(
            f"the model was asked for no words of {truth.kind!r} at its <seg> (but for {asked}): set "
            f"model.generation.seg_words to dict({truth.kind}=[{truth.value!r}, ...])"
        )
    return words[truth.kind]
