"""Grounded captions of GranDf's val and test images, scored as GLaMM's evaluation does."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from lira_plugin.evaluation.caption_scores import CaptionScorer
from lira_plugin.evaluation.gcg_scores import GCGImageScores, GCGPrediction, score_image, summarize
from lira_plugin.evaluation.mask_iou import bool_mask
from lira_plugin.evaluation.prediction_files import file_hashes
from lira_plugin.evaluation.record_metric import RecordMetric, check_answer
from lira_plugin.evaluation.text_similarity import build_similarity
from lira_plugin.registry import METRICS
from lira_plugin.structures import (
    GCGTruth,
    GroundedText,
    GroundingSample,
    MaskStage,
    encode_mask,
    gcg_truth_files,
    read_gcg_truth,
)
from lira_plugin.written_aside import write_json, write_json_list


@METRICS.register_module()
class GCGMetric(RecordMetric):
    """AP50, mIoU, Recall, METEOR and CIDEr of grounded captions, ``<source>/<name>``: see :func:`summarize`.

    An image is scored as soon as it is answered, and its masks are let go. A source ends with its split, as in ``gcg/val``, and
    the records' ids are those of the images, as :class:`~lira_plugin.datasets.GCGTestDataset` has them. The caption is the
    answer without special tokens, line breaks, and quotes around it.

    Args:
        ann_root: folder of the ground truth, see :func:`~lira_plugin.structures.read_gcg_truth`.
        splits: those to be scored.
        similarity: of phrases, for Recall: ``exact``, ``minilm`` or ``bert`` (the paper's), see :func:`build_similarity`.
        similarity_model: folder or hub name of the language model, in place of the usual one.
        captions: score captions, for which the extra ``caption`` is needed.
        mask_stage: which of the two masks of a phrase counts. LIRA's script takes the coarse one.
        out_file: JSON file for the scores with the settings that they depend on, or None.
        dump: JSON file for one object an image, or None.
        prefix: put in front of the keys; none by default.

    Raises:
        FileNotFoundError: a file of the ground truth is not there.
        ImportError, RuntimeError: captions cannot be scored, see :class:`CaptionScorer`.
        OSError: the language model is not there.
        ValueError: the similarity is unknown, or the ground truth is not of its layout.
    """

    def __init__(
        self,
        ann_root: str,
        splits: Sequence[str] = ("val", "test"),
        similarity: str = "exact",
        similarity_model: str | None = None,
        captions: bool = False,
        mask_stage: MaskStage = "refined",
        out_file: str | Path | None = None,
        dump: str | Path | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        self.truths = {split: read_gcg_truth(ann_root, split) for split in splits}
        self.similarity = build_similarity(similarity, similarity_model)
        self.captions = CaptionScorer() if captions else None
        self.mask_stage = mask_stage
        self.out_file, self.dump = out_file, dump
        files = [path for split in splits for path in gcg_truth_files(ann_root, split)]
        self.settings: dict[str, Any] = {
            "similarity": similarity,
            "similarity_model": similarity_model,
            "captions": captions,
            "mask_stage": mask_stage,
            "ground_truth": file_hashes({path.name: path for path in files}),
        }

    def take_settings(self, settings: Mapping[str, Any]) -> None:
        """Take what else the scores depend on, such as tiles and the token limit, to be written beside them."""
        self.settings |= settings

    def score(self, sample: GroundingSample, answer: GroundedText) -> tuple[str, GCGImageScores]:
        """The source and the scores of one image.

        Raises:
            ValueError: the ground truth does not know the split or the image, or a mask is not of bool or of another size.
        """
        check_answer(sample, answer, GroundedText)
        truth = self._truths_of(sample.source).get(sample.record_id)
        if truth is None:
            raise ValueError(
                f"{sample.name}: the ground truth has no such image; it was read for the splits {list(self.truths)}, and a "
                "source must end with its split, as in 'gcg/val'"
            )
        prediction = GCGPrediction(
            name=sample.name,
            caption=" ".join(answer.text.split()).strip("'").strip(),
            phrases=tuple(span.phrase.strip() for span in answer.spans),
            segmentations=tuple(
                encode_mask(bool_mask(span.mask_of(self.mask_stage), f"{sample.name}: a mask")) for span in answer.spans
            ),
            scores=tuple(span.score_of(self.mask_stage) for span in answer.spans),
        )
        return sample.source, score_image(truth, prediction, self.similarity)

    def compute_metrics(self, results: list[tuple[str, GCGImageScores]]) -> dict[str, float]:
        """Summarise the images of each source, and write the files.

        Raises:
            RuntimeError: METEOR ended.
        """
        metrics: dict[str, float] = {}
        for source in dict.fromkeys(source for source, _ in results):
            own = {image.image_id: image for other, image in results if other == source}
            images = list(self._in_order(source, own))
            metrics |= {f"{source}/{name}": value for name, value in summarize(images, self.captions).items()}
        if self.dump is not None:
            write_json_list(self.dump, [{"source": source} | image.to_json() for source, image in results])
        if self.out_file is not None:
            write_json(self.out_file, metrics | {"settings": self.settings}, indent=2)
            print_log(
                f"wrote the scores of {len(results)} captions and their settings to {self.out_file}", logger="current"
            )
        return metrics

    def _in_order(self, source: str, own: Mapping[str, GCGImageScores]) -> Iterator[GCGImageScores]:
        """The images by their ids; those that have masks and no caption were not asked about, and count in AP50."""
        for image_id, truth in self._truths_of(source).items():
            if image_id in own:
                yield own[image_id]
            elif not truth.is_described:
                yield score_image(truth, GCGPrediction(truth.name, is_missing=True), self.similarity)

    def _truths_of(self, source: str) -> Mapping[str, GCGTruth]:
        return self.truths.get(source.rpartition("/")[2], {})
