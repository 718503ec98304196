"""Instances of any model in a file, scored against COCO's ground truth."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lira_plugin.evaluation.coco_scores import CocoPrediction, InstanceScores, score_instances, summarize_instances
from lira_plugin.evaluation.coco_truth import CocoGroundTruth, normal_name, read_coco_truth
from lira_plugin.evaluation.gcg_files import image_id_of
from lira_plugin.evaluation.prediction_files import Entry, PredictionLines, check_score, file_hashes
from lira_plugin.json_file import read_json
from lira_plugin.structures import shown


class NamedMask(NamedTuple):
    """A mask that a model found.

    Args:
        phrase: what it is called.
        segmentation: in any COCO form.
        mask_score: mean foreground probability inside the mask.
        phrase_prob: probability of the phrase; None where the model does not say, which counts as 1.
    """

    phrase: str
    segmentation: Any
    mask_score: float
    phrase_prob: float | None


@dataclass(frozen=True)
class CocoFileScores:
    """Scores of a file, counts beside them, and the lines of single images."""

    scores: dict[str, float]
    images: list[InstanceScores]
    unknown: int
    """Images with a prediction that the ground truth does not list."""
    data: dict[str, dict[str, str]]
    """Path and hash of the files."""


def predict_categories(name: str, masks: Sequence[NamedMask], index_of_name: Mapping[str, int]) -> CocoPrediction:
    """The instances of an answer: those whose phrase is the name of a category, and the count of the others.

    The score of an instance is, as PSALM's, the probability of its class times the mean probability inside its mask. Here the
    first is that of the phrase (:attr:`~lira_plugin.structures.GroundedSpan.phrase_prob`).

    Args:
        name: of the answer, for messages.
        masks: in the order of the answer.
        index_of_name: of the categories, see :meth:`~lira_plugin.evaluation.coco_truth.CocoGroundTruth.index_of_name`.
    """
    categories = [index_of_name.get(normal_name(mask.phrase)) for mask in masks]
    named = [(mask, category) for mask, category in zip(masks, categories) if category is not None]
    return CocoPrediction(
        name=name,
        categories=tuple(category for _, category in named),
        segmentations=tuple(mask.segmentation for mask, _ in named),
        scores=tuple(mask.mask_score * (1.0 if mask.phrase_prob is None else mask.phrase_prob) for mask, _ in named),
        without_category=len(masks) - len(named),
    )


def to_results(truth: CocoGroundTruth, image_id: int | str, prediction: CocoPrediction) -> list[dict[str, Any]]:
    """The entries of an image in COCO's results JSON."""
    return [
        {
            "image_id": image_id,
            "category_id": truth.category_ids[category],
            "segmentation": segmentation,
            "score": score,
        }
        for category, segmentation, score in zip(prediction.categories, prediction.segmentations, prediction.scores)
    ]


def score_coco_files(
    predictions: str | os.PathLike, ground_truth: str | os.PathLike, source: str | None = None
) -> CocoFileScores:
    """Score instances of any model.

    Args:
        predictions: COCO's results JSON, a list of ``{"image_id", "category_id", "segmentation", "score"}``. Or, where its name
            ends in ``.jsonl``, the lines of :class:`~lira_plugin.evaluation.DumpAnswers`, whose phrases name the categories.
        ground_truth: COCO file of instances.
        source: of the lines; others are left out. None takes all.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is not of its layout, or a mask is broken.
    """
    truth = read_coco_truth(ground_truth)
    read = _read_lines if Path(predictions).suffix == ".jsonl" else _read_results
    found, unknown = read(predictions, truth, source)
    images = [score_instances(truth.images[image_id], prediction) for image_id, prediction in found]
    return CocoFileScores(
        scores=summarize_instances(images),
        images=images,
        unknown=unknown,
        data=file_hashes({"predictions": predictions, "ground_truth": ground_truth}),
    )


Found = tuple[Iterator[tuple[str, CocoPrediction]], int]
"""Image and prediction, for each image of the ground truth; count of images that it does not list."""


def _read_results(path: str | os.PathLike, truth: CocoGroundTruth, source: str | None) -> Found:
    if source is not None:
        raise ValueError(f"{path} is COCO's results JSON, which has no sources; leave source={source!r} out")
    content = read_json(path)
    if not isinstance(content, list):
        raise ValueError(
            f"{path} must be COCO's results JSON, a list of objects with 'image_id', 'category_id', 'segmentation' and "
            f"'score', got {shown(content)}; name a file of DumpAnswers' lines *.jsonl"
        )
    indices = {category_id: index for index, category_id in enumerate(truth.category_ids)}
    entries: dict[str, list[dict[str, Any]]] = {}
    for position, entry in enumerate(content):
        name = f"{path}: the result at position {position}"
        lacking = {"image_id", "category_id", "segmentation", "score"} - (
            entry.keys() if isinstance(entry, dict) else set()
        )
        if lacking:
            raise ValueError(f"{name} lacks {', '.join(sorted(lacking))}: {shown(entry)}")
        for key in ("image_id", "category_id"):
            if isinstance(entry[key], bool) or not isinstance(entry[key], int | str):
                raise ValueError(f"{name}: {key!r} must be a whole number or a text, got {shown(entry[key])}")
        check_score(entry["score"], name)
        entries.setdefault(str(entry["image_id"]), []).append(entry)

    def predictions() -> Iterator[tuple[str, CocoPrediction]]:
        for image_id in truth.images:
            own = entries.get(image_id, [])
            named = [entry for entry in own if entry["category_id"] in indices]
            yield (
                image_id,
                CocoPrediction(
                    name=f"{path}: image {image_id}",
                    categories=tuple(indices[entry["category_id"]] for entry in named),
                    segmentations=tuple(entry["segmentation"] for entry in named),
                    scores=tuple(float(entry["score"]) for entry in named),
                    without_category=len(own) - len(named),
                    is_missing=not own,
                ),
            )

    return predictions(), len(entries.keys() - truth.images.keys())


def _read_lines(path: str | os.PathLike, truth: CocoGroundTruth, source: str | None) -> Found:
    indices = truth.index_of_name()

    def id_of(entry: Entry) -> str | None:
        is_wanted = source is None or entry.content.get("source") == source
        return image_id_of(entry, truth.images) if is_wanted else None

    lines = PredictionLines(path, id_of)
    if source is not None and not lines.ids():
        raise ValueError(f"{path} has no line whose 'source' is {source!r}")

    def predictions() -> Iterator[tuple[str, CocoPrediction]]:
        for image_id in truth.images:
            entry = lines.read(image_id)
            if entry is None:
                yield image_id, CocoPrediction(f"image {image_id}", is_missing=True)
            else:
                yield image_id, predict_categories(entry.name, list(_named_masks(entry)), indices)

    return predictions(), len(lines.ids() - truth.images.keys())


def _named_masks(entry: Entry) -> Iterator[NamedMask]:
    spans = entry.content.get("spans")
    if not isinstance(spans, list) or not all(isinstance(span, dict) for span in spans):
        raise ValueError(
            f"{entry.name}: 'spans' must be a list of objects, as DumpAnswers writes it, got {shown(spans)}"
        )
    for position, span in enumerate(spans):
        name = f"{entry.name}: span {position}"
        if lacking := {"phrase", "segmentation", "score"} - span.keys():
            raise ValueError(f"{name} lacks {', '.join(sorted(lacking))}")
        if not isinstance(span["phrase"], str):
            raise ValueError(f"{name}: 'phrase' must be a text, got {shown(span['phrase'])}")
        probability = span.get("phrase_prob")
        yield NamedMask(
            span["phrase"],
            span["segmentation"],
            check_score(span["score"], name),
            None if probability is None else check_score(probability, name),
        )
