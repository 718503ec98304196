"""Scores of grounded captions: AP50, mIoU and Recall as GLaMM's evaluation has them, and what they say without its faults.

Each image is scored alone, and of its masks nothing is kept. :func:`summarize` then says what all images say together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from lira_plugin.evaluation.caption_scores import CaptionScorer
from lira_plugin.evaluation.coco_average_precision import ImageMatches, Rle, average_precision, image_matches
from lira_plugin.evaluation.text_similarity import TextSimilarity
from lira_plugin.structures import GCGTruth, decode_segmentation, encode_mask
from lira_plugin.structures.rle import decode_rle

THRESHOLD = 0.5
"""From which IoU, and from which similarity of the texts, a phrase counts as recalled."""


@dataclass(frozen=True)
class GCGPrediction:
    """A grounded caption of any model.

    Args:
        name: where it comes from, for messages.
        caption: the text without special tokens.
        phrases: what the text calls the masks.
        segmentations: the masks, each in any COCO form at the size of the image; as a rule one for each phrase.
        scores: confidence of each mask, None where the model gives none.
        is_missing: whether there is no prediction for the image; then it is this empty one.
    """

    name: str
    caption: str = ""
    phrases: tuple[str, ...] = ()
    segmentations: tuple[Any, ...] = ()
    scores: tuple[float, ...] | None = None
    is_missing: bool = False


@dataclass(frozen=True)
class GCGImageScores:
    """What is kept of an image: numbers and texts.

    Args:
        truth_count, mask_count: true and predicted masks.
        mean_iou: see :func:`greedy_mean_iou`.
        phrase_count: true phrases.
        recalled: of them, as GLaMM counts; see :func:`recalled_until_failure`.
        recalled_fixed: of them, see :func:`recalled_pairs`.
        matches, scored_matches: for AP50 with the score 1 for all masks, and with their own; the second None without scores.
    """

    image_id: str
    is_described: bool
    is_missing: bool
    truth_count: int
    mask_count: int
    mean_iou: float
    phrase_count: int
    recalled: int
    recalled_fixed: int
    caption: str
    true_captions: tuple[str, ...]
    has_scores: bool
    matches: ImageMatches
    scored_matches: ImageMatches | None

    def to_json(self) -> dict[str, Any]:
        """A line for the analysis of errors."""
        return {
            "image_id": self.image_id,
            "missing": self.is_missing,
            "true_masks": self.truth_count,
            "masks": self.mask_count,
            "mIoU": self.mean_iou,
            "phrases": self.phrase_count,
            "recalled": self.recalled,
            "recalled_fixed": self.recalled_fixed,
            "caption": self.caption,
            "true_captions": list(self.true_captions),
        }


def score_image(truth: GCGTruth, prediction: GCGPrediction, similarity: TextSimilarity) -> GCGImageScores:
    """Score the prediction for one image.

    Raises:
        ValueError: a mask is broken or of another size than the image, or there is not one score for each mask.
    """
    if prediction.scores is not None and len(prediction.scores) != len(prediction.segmentations):
        raise ValueError(
            f"{prediction.name}: {len(prediction.scores)} scores for {len(prediction.segmentations)} masks; give one for each, "
            "or none at all"
        )
    size = truth.size or _size_of(truth.segmentations) or _size_of(prediction.segmentations)
    truths = checked_rles(truth.segmentations, size, truth.name)
    found = checked_rles(prediction.segmentations, size, prediction.name)
    overlaps = rle_overlaps(found, truths)
    targets = (truths, truth.annotation_ids, truth.is_crowd)
    scores = prediction.scores
    return GCGImageScores(
        image_id=truth.image_id,
        is_described=truth.is_described,
        is_missing=prediction.is_missing,
        truth_count=len(truths),
        mask_count=len(found),
        mean_iou=greedy_mean_iou(overlaps),
        phrase_count=len(truth.phrases),
        recalled=recalled_until_failure(overlaps, prediction.phrases, truth.phrases, similarity),
        recalled_fixed=recalled_pairs(overlaps, prediction.phrases, truth.phrases, similarity),
        caption=prediction.caption,
        true_captions=truth.captions,
        has_scores=scores is not None,
        matches=image_matches(found, [1.0] * len(found), *targets),
        scored_matches=image_matches(found, scores or [], *targets) if scores is not None or not found else None,
    )


def summarize(images: Sequence[GCGImageScores], captions: CaptionScorer | None = None) -> dict[str, float]:
    """Scores over all images of a split.

    ``AP50``: COCOeval's, with the score 1.0 for every mask, so that their order decides; ``AP50_scored``: with the models' own
    scores, where it gives them. ``mIoU``: mean of :func:`greedy_mean_iou`. ``Recall`` and ``Recall_fixed``: the share of true
    phrases by :func:`recalled_until_failure` and :func:`recalled_pairs`. ``METEOR`` and ``CIDEr``: of the captions, if
    ``captions`` is given. ``images``, ``missing`` and ``without_mask``: counts. A missing prediction counts as an empty one.

    AP50 is -1 where the split has no true mask, and Recall 0 where it has no phrase.

    Args:
        images: in the order of their ids, see :func:`~lira_plugin.evaluation.coco_average_precision.average_precision`.
        captions: scorer of captions, or None to leave them out.

    Raises:
        ValueError: there is no image.
    """
    described = [image for image in images if image.is_described]
    if not described:
        raise ValueError("there is no image with a caption to score")
    phrases = sum(image.phrase_count for image in images)
    summary = {"AP50": average_precision([image.matches for image in images])}
    if any(image.has_scores for image in images) and all(image.has_scores or not image.mask_count for image in images):
        summary["AP50_scored"] = average_precision([image.scored_matches for image in images])
    summary["mIoU"] = float(np.mean([image.mean_iou for image in described]))
    summary["Recall"] = sum(image.recalled for image in images) / phrases if phrases else 0.0
    summary["Recall_fixed"] = sum(image.recalled_fixed for image in images) / phrases if phrases else 0.0
    if captions is not None:
        told = [image for image in described if image.true_captions]
        summary |= captions([image.caption for image in told], [image.true_captions for image in told])
    summary["images"] = len(described)
    summary["missing"] = sum(image.is_missing for image in described)
    summary["without_mask"] = sum(not image.mask_count for image in described)
    return summary


def rle_overlaps(found: Sequence[Rle], truths: Sequence[Rle]) -> np.ndarray:
    """IoU of every mask found (F) with every true one (T), (F, T) float64; NaN where both are empty."""
    if not found or not truths:
        return np.zeros((len(found), len(truths)))
    overlaps = np.array(coco_mask.iou(list(found), list(truths), [0] * len(truths)), np.float64)
    empty, empty_truth = (coco_mask.area(list(rles)) == 0 for rles in (found, truths))
    overlaps[np.ix_(empty, empty_truth)] = np.nan
    return overlaps


def greedy_mean_iou(overlaps: np.ndarray) -> float:
    """Mean IoU of pairs, of which the one with the greatest IoU is taken first, one to one, until none overlaps.

    As in GLaMM's evaluation, masks without a partner cost nothing, an image without any pair scores 0, and so does one that has
    an empty mask on both sides (a NaN).

    Args:
        overlaps: (F, T) of :func:`rle_overlaps`.
    """
    if np.isnan(overlaps).any():
        return 0.0
    left, taken = overlaps.copy(), []
    while left.size and left.max() > 0:
        pair = np.unravel_index(left.argmax(), left.shape)
        taken.append(left[pair])
        left[pair[0], :] = left[:, pair[1]] = 0
    return float(np.mean(taken)) if taken else 0.0


def recalled_until_failure(
    overlaps: np.ndarray, phrases: Sequence[str], true_phrases: Sequence[str], similarity: TextSimilarity
) -> int:
    """Count true phrases that are recalled, as GLaMM's evaluation does: at the first pair that fails it stops.

    The pair with the greatest IoU is taken first, one to one. It needs an IoU and a similarity of its phrases of 0.5 or more. A
    pair of empty masks comes before all others and needs the similarity alone. Where a pair has a mask beyond the phrases, that
    code fails and counts nothing for the image.

    Args:
        overlaps: (F, T) of :func:`rle_overlaps`.
        phrases: of the masks found.
        true_phrases: of the true masks.
        similarity: of two texts.
    """
    left, count = overlaps.T.copy(), 0
    while left.size:
        true_index, index = np.unravel_index(left.argmax(), left.shape)
        if left[true_index, index] < THRESHOLD:
            break
        if true_index >= len(true_phrases) or index >= len(phrases):
            return 0
        if similarity(true_phrases[true_index], phrases[index]) < THRESHOLD:
            break
        count += 1
        left[true_index, :] = left[:, index] = 0
    return count


def recalled_pairs(
    overlaps: np.ndarray, phrases: Sequence[str], true_phrases: Sequence[str], similarity: TextSimilarity
) -> int:
    """Count true phrases that are recalled: as :func:`recalled_until_failure`, but a pair that fails is passed over.

    Empty masks and masks beyond the phrases have no partner.
    """
    left = np.nan_to_num(overlaps.T, nan=0.0)[: len(true_phrases), : len(phrases)]
    free_truths, free = set(range(left.shape[0])), set(range(left.shape[1]))
    count = 0
    for flat in np.argsort(-left, axis=None, kind="stable"):
        true_index, index = (int(axis) for axis in np.unravel_index(flat, left.shape))
        if left[true_index, index] < THRESHOLD:
            break
        if true_index in free_truths and index in free:
            if similarity(true_phrases[true_index], phrases[index]) < THRESHOLD:
                continue
            free_truths.remove(true_index)
            free.remove(index)
            count += 1
    return count


def _size_of(segmentations: Sequence[Any]) -> tuple[int, int] | None:
    """The size that an RLE states."""
    sizes = [part["size"] for part in segmentations if isinstance(part, Mapping) and "size" in part]
    whole = isinstance(sizes[0], list | tuple) and len(sizes[0]) == 2 if sizes else False
    return tuple(sizes[0]) if whole else None


def checked_rles(segmentations: Sequence[Any], size: tuple[int, int] | None, name: str) -> list[Rle]:
    """The masks as compressed RLE that was made of decoded pixels: pycocotools' C code trusts what it is given.

    Args:
        segmentations: in any COCO form.
        size: (height, width) of the image; None is an error where there is a mask.
        name: of what holds them, for messages.

    Raises:
        ValueError: a mask is broken or of another size, or the size is not known.
    """
    if segmentations and size is None:
        raise ValueError(f"{name}: neither the image nor an RLE says how large the image is")
    checked = []
    for index, segmentation in enumerate(segmentations):
        try:
            is_rle = isinstance(segmentation, Mapping) and {"size", "counts"} <= segmentation.keys()
            decode = decode_rle if is_rle else decode_segmentation  # an RLE alone is decoded in a fifth of the time
            checked.append(encode_mask(decode(segmentation, *size)))
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"{name}: mask {index}: {error}") from error
    return checked
