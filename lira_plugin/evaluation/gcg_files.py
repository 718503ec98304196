"""Grounded captions of any model in files, scored against the ground truth of GranDf."""

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lira_plugin.evaluation.caption_scores import CaptionScorer
from lira_plugin.evaluation.gcg_scores import GCGImageScores, GCGPrediction, score_image, summarize
from lira_plugin.evaluation.prediction_files import Entry, Predictions, check_score, file_hashes, open_predictions
from lira_plugin.evaluation.text_similarity import TextSimilarity
from lira_plugin.structures import GCGTruth, gcg_truth_files, read_gcg_truth, shown


@dataclass(frozen=True)
class GCGFileScores:
    """Scores of a file or folder, counts beside them, and the lines of single images."""

    scores: dict[str, float]
    images: list[GCGImageScores]
    unknown: int
    """Predictions for images that the ground truth does not list."""
    ground_truth: dict[str, dict[str, str]]
    """Path and hash of its files."""


def score_gcg_files(
    predictions: str | os.PathLike,
    ground_truth: str | os.PathLike,
    split: str,
    similarity: TextSimilarity,
    captions: CaptionScorer | None = None,
) -> GCGFileScores:
    """Score predictions of any model, of which one image at a time is read.

    Args:
        predictions: a folder of ``<image id>.json`` as GLaMM has them, ``{"image_id", "caption", "phrases", "pred_masks"}``,
            where ``scores`` may say how sure the model is of each mask. Or JSON Lines of such objects or of those that
            :class:`~lira_plugin.evaluation.DumpAnswers` writes.
        ground_truth: see :func:`~lira_plugin.structures.read_gcg_truth`.
        split: likewise.
        similarity: of two phrases.
        captions: scorer of captions, or None to leave them out.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is not of its layout, or a mask is broken.
    """
    truths = read_gcg_truth(ground_truth, split)
    files = open_predictions(predictions, lambda entry: image_id_of(entry, truths))
    images = list(_score(truths, files, similarity))
    return GCGFileScores(
        scores=summarize(images, captions),
        images=images,
        unknown=len(files.ids() - truths.keys()),
        ground_truth=file_hashes({path.name: path for path in gcg_truth_files(ground_truth, split)}),
    )


def _score(truths: dict[str, GCGTruth], files: Predictions, similarity: TextSimilarity) -> Iterator[GCGImageScores]:
    for image_id, truth in truths.items():
        entry = files.read(image_id)
        prediction = parse_prediction(entry) if entry else GCGPrediction(f"image {image_id!r}", is_missing=True)
        yield score_image(truth, prediction, similarity)


def image_id_of(entry: Entry, known: Container[str]) -> str:
    """The id of the image that a line is about: ``image_id``, or ``record_id``, or the stem of ``image``.

    Raises:
        ValueError: the line says none of them.
    """
    content = entry.content
    named = [str(content[key]) for key in ("image_id", "record_id") if isinstance(content.get(key), str | int)]
    if isinstance(content.get("image"), str):
        named.append(Path(content["image"]).stem)
    if not named:
        raise ValueError(
            f"{entry.name} does not say which image it is about: it needs 'image_id', 'record_id' or 'image'"
        )
    return next((name for name in named if name in known), named[0])


def parse_prediction(entry: Entry) -> GCGPrediction:
    """A prediction in GLaMM's layout or that of :class:`~lira_plugin.evaluation.DumpAnswers`.

    GLaMM's may also stand below one key, such as the image id.

    Raises:
        ValueError: it is of neither; the message names the key.
    """
    name, content = entry
    first = next(iter(content.values()), None)
    if isinstance(first, dict) and "caption" in first:
        content = first
    if "spans" in content:
        spans = [_as(dict, span, name, "spans") for span in _listed(content, "spans", name)]
        return GCGPrediction(
            name=name,
            caption=_as(str, _value(content, "text", name), name, "text"),
            phrases=tuple(_as(str, _value(span, "phrase", name), name, "phrase") for span in spans),
            segmentations=tuple(_value(span, "segmentation", name) for span in spans),
            scores=tuple(check_score(_value(span, "score", name), name) for span in spans),
        )
    scores = content.get("scores")
    return GCGPrediction(
        name=name,
        caption=_as(str, _value(content, "caption", name), name, "caption"),
        phrases=tuple(_as(str, phrase, name, "phrases") for phrase in _listed(content, "phrases", name)),
        segmentations=tuple(_listed(content, "pred_masks", name)),
        scores=None
        if scores is None
        else tuple(check_score(score, name) for score in _listed(content, "scores", name)),
    )


def _value(content: dict[str, Any], key: str, name: str) -> Any:
    if key not in content:
        raise ValueError(
            f"{name} lacks {key!r}; a prediction is {{'image_id', 'caption', 'phrases', 'pred_masks'}} or a line of DumpAnswers, "
            f"this has {sorted(content)}"
        )
    return content[key]


def _listed(content: dict[str, Any], key: str, name: str) -> list[Any]:
    return _as(list, _value(content, key, name), name, key)


def _as(kind: type, value: Any, name: str, key: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{name}: {key!r} must be or hold {kind.__name__}, got {shown(value)}")
    return value
