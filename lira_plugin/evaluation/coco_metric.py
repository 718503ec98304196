"""Named instances of a COCO file, as PSALM's protocol has them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log

from lira_plugin.evaluation.coco_files import NamedMask, predict_categories, to_results
from lira_plugin.evaluation.coco_scores import CocoPrediction, InstanceScores, score_instances, summarize_instances
from lira_plugin.evaluation.coco_truth import read_coco_truth
from lira_plugin.evaluation.mask_iou import bool_mask
from lira_plugin.evaluation.prediction_files import file_hashes
from lira_plugin.evaluation.record_metric import RecordMetric, check_answer
from lira_plugin.registry import METRICS
from lira_plugin.structures import GroundedText, GroundingSample, MaskStage, encode_mask
from lira_plugin.written_aside import write_json, write_json_list


class ScoredImage(NamedTuple):
    """What is kept of an answer; the entries of COCO's results only where they are to be written."""

    source: str
    scores: InstanceScores
    results: list[dict[str, Any]]


@METRICS.register_module()
class CocoInstanceMetric(RecordMetric):
    """AP, mIoU and counts of the instances that answers name, ``<source>/<name>``: see :func:`summarize_instances`.

    Every ``<seg>`` is an instance, and its phrase says the category: equal to the name of one but for case and white space.
    Phrases that name no category are counted (``without_category``), and their masks are left out.

    The score of an instance is, as PSALM's, the probability of its class times the mean probability inside its mask. Here the
    first is that of the phrase (:attr:`~lira_plugin.structures.GroundedSpan.phrase_prob`), or 1 where the phrase was given.

    An image is scored as soon as it is answered, and its masks are let go unless ``results_dir`` wants them. The records' ids are
    those of the images, as :class:`~lira_plugin.datasets.CocoPromptDataset` has them. Images that were not asked about count as
    answered with nothing. Several sources, such as one for each prompt, are scored against the same file.

    Args:
        ann_file: COCO file of instances. Its crowds and areas count as in COCO's evaluation.
        mask_stage: which of the two masks of a phrase counts.
        out_file: JSON file for the scores with the settings that they depend on, or None.
        results_dir: folder for COCO's results JSON, a file for each source with ``/`` as ``_``, or None.
        prefix: put in front of the keys; none by default.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not COCO's, or two of its categories have the same name.
    """

    def __init__(
        self,
        ann_file: str,
        mask_stage: MaskStage = "refined",
        out_file: str | Path | None = None,
        results_dir: str | Path | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        self.truth = read_coco_truth(ann_file)
        self.index_of_name = self.truth.index_of_name()
        self.mask_stage = mask_stage
        self.out_file, self.results_dir = out_file, results_dir
        self.settings: dict[str, Any] = {
            "mask_stage": mask_stage,
            "score": "phrase probability x mean mask probability",
            "ground_truth": file_hashes({"instances": ann_file})["instances"],
        }

    def take_settings(self, settings: Mapping[str, Any]) -> None:
        """Take what else the scores depend on, such as tiles and the token limit, to be written beside them."""
        self.settings |= settings

    def score(self, sample: GroundingSample, answer: GroundedText) -> ScoredImage:
        """The scores of one image.

        Raises:
            ValueError: the ground truth does not know the image, or a mask is not of bool or of another size.
        """
        check_answer(sample, answer, GroundedText)
        truth = self.truth.images.get(sample.record_id)
        if truth is None:
            raise ValueError(
                f"{sample.name}: {self.truth.path} has no image {sample.record_id!r}; set ann_file of the metric to the file of "
                "the data set"
            )
        masks = [
            NamedMask(
                span.phrase,
                encode_mask(bool_mask(span.mask_of(self.mask_stage), f"{sample.name}: a mask")),
                span.score_of(self.mask_stage),
                span.phrase_prob,
            )
            for span in answer.spans
        ]
        prediction = predict_categories(sample.name, masks, self.index_of_name)
        results = [] if self.results_dir is None else to_results(self.truth, truth.image_id, prediction)
        return ScoredImage(sample.source, score_instances(truth, prediction), results)

    def compute_metrics(self, results: list[ScoredImage]) -> dict[str, float]:
        """Summarise the images of each source, and write the files."""
        metrics: dict[str, float] = {}
        for source in dict.fromkeys(result.source for result in results):
            own = {str(result.scores.image_id): result for result in results if result.source == source}
            summary = summarize_instances(list(self._in_order(own)))
            metrics |= {f"{source}/{name}": value for name, value in summary.items()}
            if self.results_dir is not None:
                entries = [
                    entry for image_id in self.truth.images if image_id in own for entry in own[image_id].results
                ]
                write_json_list(Path(self.results_dir) / f"{source.replace('/', '_')}.json", entries)
        if self.out_file is not None:
            write_json(self.out_file, metrics | {"settings": self.settings}, indent=2)
            print_log(f"wrote the scores of {len(results)} images and their settings to {self.out_file}", "current")
        return metrics

    def _in_order(self, own: Mapping[str, ScoredImage]) -> Iterator[InstanceScores]:
        """The images of the ground truth in its order."""
        for image_id, truth in self.truth.images.items():
            if image_id in own:
                yield own[image_id].scores
            else:
                yield score_instances(truth, CocoPrediction(truth.name, is_missing=True))
