"""Captions of any model in a file, scored by CHAIR against COCO's instances and captions."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lira_plugin.evaluation.chair_scores import ChairCaption, judge_caption, summarise_captions
from lira_plugin.evaluation.coco_objects import CategoryKey, CocoObjects, read_coco_objects
from lira_plugin.evaluation.gcg_files import image_id_of
from lira_plugin.evaluation.prediction_files import Entry, file_hashes, read_lines
from lira_plugin.structures import shown


@dataclass(frozen=True)
class ChairFileScores:
    """Scores of a file and its judged captions, in its order, with path and hash of each file that they depend on."""

    scores: dict[str, float]
    captions: list[ChairCaption]
    data: dict[str, dict[str, str]]
    has_references: bool
    """Whether reference captions were among the ground truth."""


def score_chair_file(
    predictions: str | os.PathLike,
    ground_truth: str | os.PathLike,
    synonyms: str | os.PathLike | None = None,
    category_key: CategoryKey = "name",
) -> ChairFileScores:
    """Score a JSON Lines file of captions, one an image; images without a caption do not count.

    Args:
        predictions: lines ``{"image_id": 42, "caption": "A dog."}``, or those that
            :class:`~lira_plugin.evaluation.DumpAnswers` writes.
        ground_truth, synonyms, category_key: see :func:`~lira_plugin.evaluation.coco_objects.read_coco_objects`.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is not of its layout, there is no caption, two are of one image, or one is of an unknown image.
    """
    truth = read_coco_objects(ground_truth, synonyms, category_key)
    captions = list(_judged(predictions, truth))
    if not captions:
        raise ValueError(f'{predictions} holds no caption; a line is {{"image_id": 42, "caption": "A dog."}}')
    files = {"predictions": predictions} | dict(truth.files) | ({} if synonyms is None else {"synonyms": synonyms})
    return ChairFileScores(summarise_captions(captions), captions, file_hashes(files), bool(truth.captions))


def _judged(path: str | os.PathLike, truth: CocoObjects) -> Iterator[ChairCaption]:
    known: dict[str, str] = {}
    for entry in read_lines(path):
        named = image_id_of(entry, truth.id_of_name)
        image_id = truth.id_of_name.get(named)
        if image_id is None:
            raise ValueError(f"{entry.name}: {truth.unknown(named)}")
        if image_id in known:
            raise ValueError(
                f"{entry.name}: image {image_id!r} was in {known[image_id]} already; one caption an image is scored: remove one "
                "of them"
            )
        known[image_id] = entry.name
        yield judge_caption(image_id, caption_of(entry), truth.of_image(image_id), truth.words)


def caption_of(entry: Entry) -> str:
    """The caption of a line, ``caption`` or ``text``.

    Raises:
        ValueError: it has none, or one that is no text; the message names the line.
    """
    content: Mapping = entry.content
    key = "caption" if "caption" in content else "text"
    if not isinstance(content.get(key), str):
        found = f"its {key!r} is {shown(content[key])}" if key in content else f"it has {sorted(content)}"
        raise ValueError(f"{entry.name} needs a text under 'caption', or 'text' as DumpAnswers has it; {found}")
    return content[key]
