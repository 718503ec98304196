"""Hallucinated objects of the captions that a model writes, by CHAIR."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from lira_plugin.evaluation.chair_scores import ChairCaption, judge_caption, summarise_captions
from lira_plugin.evaluation.coco_objects import CategoryKey, read_coco_objects
from lira_plugin.evaluation.prediction_files import file_hashes
from lira_plugin.evaluation.record_metric import RecordMetric, check_answer
from lira_plugin.registry import METRICS
from lira_plugin.structures import GroundedText, GroundingSample
from lira_plugin.written_aside import write_json, write_json_list


@METRICS.register_module()
class ChairMetric(RecordMetric):
    """CHAIRs, CHAIRi, recall and length of captions, ``<source>/<name>``: see :func:`summarise_captions`.

    The data set asks for a caption of each image, in whatever words. An image is known by the record's id, or by the name of
    its file, as in the ground truth.

    Args:
        annotations, synonyms, category_key: the ground truth, see
            :func:`~lira_plugin.evaluation.coco_objects.read_coco_objects`.
        out_file: JSON file for the scores with the settings that they depend on, or None.
        dump: JSON file for one object a caption, or None.
        prefix: put in front of the keys; none by default.

    Raises:
        FileNotFoundError, ValueError: see :func:`~lira_plugin.evaluation.coco_objects.read_coco_objects`.
    """

    def __init__(
        self,
        annotations: str | Path,
        synonyms: str | Path | None = None,
        category_key: CategoryKey = "name",
        out_file: str | Path | None = None,
        dump: str | Path | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(prefix=prefix)
        self.truth = read_coco_objects(annotations, synonyms, category_key)
        self.out_file, self.dump = out_file, dump
        files = dict(self.truth.files) | ({} if synonyms is None else {"synonyms": synonyms})
        self.settings: dict[str, Any] = {"category_key": category_key, "ground_truth": file_hashes(files)}

    def take_settings(self, settings: Mapping[str, Any]) -> None:
        """Take what else the scores depend on, such as tiles and the token limit, to be written beside them."""
        self.settings |= settings

    def score(self, sample: GroundingSample, answer: GroundedText) -> tuple[str, ChairCaption]:
        """The source, and the judged caption.

        Raises:
            ValueError: the ground truth does not list the image.
        """
        check_answer(sample, answer, GroundedText)
        names = (sample.record_id, Path(sample.image_key or "").stem)
        image_id = next((self.truth.id_of_name[name] for name in names if name in self.truth.id_of_name), None)
        if image_id is None:
            raise ValueError(f"{sample.name}: {self.truth.unknown(sample.record_id)}")
        return sample.source, judge_caption(image_id, answer.text, self.truth.of_image(image_id), self.truth.words)

    def compute_metrics(self, results: list[tuple[str, ChairCaption]]) -> dict[str, float]:
        """Summarise the captions of each source, and write the files."""
        metrics: dict[str, float] = {}
        for source in dict.fromkeys(source for source, _ in results):
            summary = summarise_captions([caption for other, caption in results if other == source])
            metrics |= {f"{source}/{name}": value for name, value in summary.items()}
        if self.dump is not None:
            write_json_list(self.dump, [{"source": source} | caption.to_json() for source, caption in results])
        if self.out_file is not None:
            write_json(self.out_file, metrics | {"settings": self.settings}, indent=2)
            print_log(f"wrote the scores of {len(results)} captions to {self.out_file}", logger="current")
        return metrics
