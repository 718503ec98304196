"""Scenes in the layout of ReasonSeg: a picture with a JSON file of polygons and questions beside it."""

from typing import Any

import cv2
import numpy as np

from lira_plugin.scenes.scene_drawing import Scene, SceneObject

REASON_SPLITS = {"train": "train", "val": "val", "testA": "test", "testB": "test"}
"""The folder that the scenes of a split go to."""
_WITH_HOLE = "ring"


def reason_entry(scene: Scene, index: int) -> dict[str, Any] | None:
    """What is asked about a scene: one object, by up to three phrases or, of every second scene, sentences.

    Another object is to be ignored in every third scene. A ring is neither, for polygons have no hole.

    Args:
        scene: the scene.
        index: of the scene in its split, which makes all choices.

    Returns:
        The content of the JSON file, None where no sentence singles out an object without a hole.
    """
    whole = [position for position, thing in enumerate(scene.objects) if thing.category != _WITH_HOLE]
    told = [position for position in whole if scene.sentences[position]]
    if not told:
        return None
    asked = told[index % len(told)]
    others = [position for position in whole if position != asked]
    shapes = _shapes(scene.objects[asked], "target")
    if others and index % 3 == 0:
        shapes += _shapes(scene.objects[others[index % len(others)]], "ignore")
    is_sentence = index % 2 == 1
    names = [f"the {sentence.text}" for sentence in scene.sentences[asked]]
    texts = [f"Which object is {name}?" for name in names] if is_sentence else names
    return {"shapes": shapes, "text": texts, "is_sentence": is_sentence}


def _shapes(thing: SceneObject, label: str) -> list[dict[str, Any]]:
    """The outlines of an object's parts, on its outermost pixels."""
    contours, _ = cv2.findContours(thing.mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [
        {"label": label, "shape_type": "polygon", "points": contour[:, 0].tolist(), "flags": {}} for contour in contours
    ]
