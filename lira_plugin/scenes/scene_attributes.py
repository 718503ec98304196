"""Scenes as AttrEval: questions about attributes that a sentence leaves out, to learn from and to be tested with."""

from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from lira_plugin.prepare.attreval import (
    DescribedObject,
    MissingAttribute,
    SelectionRule,
    select_missing,
)
from lira_plugin.prepare.attreval_lines import refseg_lines, vqa_lines
from lira_plugin.scenes.scene_language import CATEGORIES
from lira_plugin.scenes.scene_records import SPLITS, SceneRecords, llava_record
from lira_plugin.structures import AttributeKind, AttributeLexicon, load_lexicons
from lira_plugin.structures.attribute_prompts import attribute_question

MAX_QUESTIONS = 6
"""Most questions of a training record: a sequence holds no more."""


@cache
def scene_lexicons() -> dict[AttributeKind, AttributeLexicon]:
    """The lexicons of this package, with the shapes as categories."""
    with resources.as_file(resources.files(__package__) / "attribute_lexicons") as folder:
        return load_lexicons([folder])


def find_missing(records: Iterable[SceneRecords], seed: int) -> list[MissingAttribute]:
    """The attributes that sentences of some splits leave out, as ``tools/build_attreval.py`` finds them."""
    objects = [thing for split in records for thing in _described(split)]
    return select_missing(objects, scene_lexicons(), SelectionRule(seed=seed)).items


def attribute_records(train: SceneRecords, seed: int) -> list[dict[str, Any]]:
    """Questions about the train images, laid out as LLaVA's: one of each pair, so that no answer tells the next."""
    by_image: dict[int, list[MissingAttribute]] = {}
    for item in find_missing([train], seed):
        if item.false_value is not None:
            by_image.setdefault(item.object.image_id, []).append(item)
    records = []
    for image_id, items in by_image.items():
        rng = np.random.default_rng((seed, len(SPLITS) + 1, image_id))
        turns = []
        for position in rng.permutation(len(items))[:MAX_QUESTIONS].tolist():
            item, is_true = items[position], bool(rng.random() < 0.5)
            value = item.value if is_true else item.false_value
            turns.append((attribute_question(item.expression, item.kind, value), "yes" if is_true else "no"))
        records.append(llava_record(f"attributes-{image_id}", items[0].object.image, turns))
    return records


def attribute_lines(records: Iterable[SceneRecords], seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """AttrEval-VQA and AttrEval-RefSeg of some splits."""
    items = find_missing(records, seed)
    return vqa_lines(items), refseg_lines(items)


def _described(split: SceneRecords) -> list[DescribedObject]:
    images = {image["id"]: image for image in split.images}
    instances = {instance["id"]: instance for instance in split.instances}
    return [
        DescribedObject(
            ann_id=ref["ann_id"],
            image_id=ref["image_id"],
            image=ref["file_name"],
            height=images[ref["image_id"]]["height"],
            width=images[ref["image_id"]]["width"],
            segmentations=(instances[ref["ann_id"]]["segmentation"],),
            descriptions=tuple(sentence["sent"] for sentence in ref["sentences"]),
            category=CATEGORIES[ref["category_id"] - 1],
        )
        for ref in split.refs
    ]
