"""The marks that a model names on scenes with fine detail."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from lira_plugin.evaluation.record_metric import RecordMetric, check_answer
from lira_plugin.evaluation.refer_scores import SentenceScore, score_sentence, summarise_sentences
from lira_plugin.evaluation.refer_seg_metric import annotated_masks
from lira_plugin.evaluation.yes_no_scores import YesNo, yes_no_figures
from lira_plugin.json_file import read_json
from lira_plugin.scenes.mark_scores import (
    MarkedObject,
    PhraseMark,
    judge_answer,
    judge_phrase,
    mark_figures,
    phrase_mark,
)
from lira_plugin.scenes.scene_marks import named_mark
from lira_plugin.structures import GroundedText, GroundingSample
from lira_plugin.written_aside import write_json

CAPTIONS, QUESTIONS, SENTENCES = "captions", "questions", "sentences"
"""The sources of the three tasks."""


@dataclass(frozen=True)
class MarkResult:
    """What an answer says about marks.

    Args:
        source: one of the three.
        image: name of the image's file.
        phrases: of a caption or of the answer to a question.
        answer: to a question.
        refined, coarse: of a sentence.
    """

    source: str
    image: str
    phrases: tuple[PhraseMark, ...] = ()
    answer: YesNo | None = None
    refined: SentenceScore | None = None
    coarse: SentenceScore | None = None


class MarkMetric(RecordMetric):
    """Which marks are right, which are not there, and whether a sentence that names a mark finds its object.

    Captions (source ``captions``) and the grounded answers to questions (``questions``) have the figures of
    :func:`~lira_plugin.scenes.mark_scores.mark_figures`, questions also those of POPE: by the
    last word, and under ``questions/by_phrase`` by the mark that the phrase names. Sentences (``sentences``) have those of
    RefCOCO for both mask stages: ``sentences/refined/cIoU``.

    Args:
        annotations: the instances of :func:`~lira_plugin.scenes.detail_files.write_detail_scenes`.
        out_file: JSON file for the figures, the settings that they depend on, and one object for each record; or None.
        prefix: put in front of the keys; none by default.
    """

    def __init__(self, annotations: str | Path, out_file: str | Path | None = None, prefix: str | None = None) -> None:
        super().__init__(prefix=prefix)
        self.objects = read_marked_objects(annotations)
        self.out_file = out_file
        self.settings: dict[str, Any] = {}

    def take_settings(self, settings: Mapping[str, Any]) -> None:
        """Take what the figures depend on, such as ILVC and tiles, to be written beside them."""
        self.settings |= settings

    def score(self, sample: GroundingSample, answer: GroundedText) -> MarkResult:
        """What one answer says.

        Raises:
            ValueError: the ground truth does not list the image, or the source is none of the three.
        """
        check_answer(sample, answer, GroundedText)
        image = Path(sample.image_key or "").name
        if image not in self.objects:
            raise ValueError(f"{sample.name}: the ground truth has no image {image!r}")
        if sample.source == SENTENCES:
            span = answer.spans[0] if answer.spans else None
            target, ignore = annotated_masks(sample)
            refined, coarse = (
                score_sentence(span and span.mask_of(stage), target, has_target=True, ignore=ignore)
                for stage in ("refined", "coarse")
            )
            return MarkResult(sample.source, image, refined=refined, coarse=coarse)
        objects = self.objects[image]
        phrases = tuple(phrase_mark(span.phrase, span.mask, objects) for span in answer.spans)
        if sample.source == CAPTIONS:
            return MarkResult(sample.source, image, phrases)
        if sample.source == QUESTIONS:
            return MarkResult(sample.source, image, phrases, judge_answer(sample.question, answer.text, objects))
        raise ValueError(
            f"{sample.name}: the source must be {CAPTIONS!r}, {QUESTIONS!r} or {SENTENCES!r}, got {sample.source!r}"
        )

    def compute_metrics(self, results: list[MarkResult]) -> dict[str, float]:
        """Summarise the results of each source, and write the file."""
        metrics = mark_summary(results)
        if self.out_file is not None:
            records = [asdict(result) for result in results]
            write_json(self.out_file, metrics | {"settings": self.settings, "records": records})
            print_log(f"wrote the marks of {len(results)} answers to {self.out_file}", logger="current")
        return metrics


def mark_summary(results: list[MarkResult]) -> dict[str, float]:
    """The figures of :class:`MarkMetric` for the results of some records."""
    metrics: dict[str, float] = {}
    for source in dict.fromkeys(result.source for result in results):
        own = [result for result in results if result.source == source]
        if phrases := [phrase for result in own for phrase in result.phrases]:
            metrics |= {f"{source}/{name}": value for name, value in mark_figures(phrases).items()}
        asked = [(result.answer, result.phrases) for result in own if result.answer is not None]
        if asked:
            by_rule = {"": [answer for answer, _ in asked], "by_phrase/": [judge_phrase(*one) for one in asked]}
            for rule, answers in by_rule.items():
                metrics |= {f"{source}/{rule}{name}": value for name, value in yes_no_figures(answers).items()}
        for stage in ("refined", "coarse"):
            if scores := [score for result in own if (score := getattr(result, stage)) is not None]:
                metrics |= {f"{source}/{stage}/{name}": value for name, value in summarise_sentences(scores).items()}
    return metrics


def read_mark_results(path: str | Path) -> list[MarkResult]:
    """The results of the records in a file that :class:`MarkMetric` wrote."""
    results = []
    for record in read_json(path)["records"]:
        scores = {stage: record[stage] and SentenceScore(**record[stage]) for stage in ("refined", "coarse")}
        phrases = tuple(PhraseMark(*phrase) for phrase in record["phrases"])
        answer = record["answer"] and YesNo(*record["answer"])
        results.append(MarkResult(record["source"], record["image"], phrases, answer, **scores))
    return results


def read_marked_objects(annotations: str | Path) -> dict[str, list[MarkedObject]]:
    """The objects of each image, by the name of its file."""
    coco = read_json(annotations)
    images = {image["id"]: image for image in coco["images"]}
    names = {category["id"]: category["name"] for category in coco["categories"]}
    objects: dict[str, list[MarkedObject]] = defaultdict(list)
    for instance in coco["annotations"]:
        image, name = images[instance["image_id"]], names[instance["category_id"]]
        words, size = frozenset(name.split(" with ")[0].split()), (image["height"], image["width"])
        objects[image["file_name"]].append(MarkedObject(words, named_mark(name), instance["segmentation"], size))
    return dict(objects)
