"""Yes-or-no questions about the objects of images, drawn as POPE draws them."""

from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import Literal, NamedTuple

import numpy as np

from lira_plugin.evaluation.coco_objects import CocoObjects

AbsentKind = Literal["random", "popular", "adversarial"]
ABSENT_KINDS: tuple[AbsentKind, ...] = ("random", "popular", "adversarial")
"""How objects that an image does not show are drawn."""


class ObjectQuestion(NamedTuple):
    """Whether an image shows an object; ``label`` is ``yes`` or ``no``, ``kind`` how the absent objects were drawn."""

    image_id: str
    object: str
    label: str
    kind: AbsentKind


def object_questions(
    truth: CocoObjects,
    image_ids: Sequence[str],
    kind: AbsentKind,
    per_image: int = 3,
    seed: int = 0,
    unseen: Sequence[str] = (),
) -> list[ObjectQuestion]:
    """Questions about objects that an image shows, and in turn about as many that it does not.

    Absent objects are neither among an image's instances nor in its reference captions. ``random`` ones are drawn; ``popular``
    ones are those that most images show; ``adversarial`` ones are most often seen together with the object asked about before.
    No object is asked about twice in an image, and an image without anything to ask in pairs has fewer questions.

    Args:
        truth: of all images, over which objects are counted.
        image_ids: of the images to ask about.
        kind: of the absent objects.
        per_image: objects of each image to ask about; as many absent ones are.
        seed: of the choice; that of an image depends on its position too.
        unseen: objects to ask about beside those of the images, whether or not any image shows them.
    """
    frequency = Counter(name for names in truth.instances.values() for name in names)
    together = Counter(pair for names in truth.instances.values() for pair in permutations(sorted(names), 2))
    popular = sorted(frequency.keys() | set(unseen), key=lambda name: (-frequency[name], name))
    questions = []
    for position, image_id in enumerate(image_ids):
        rng = np.random.default_rng((seed, position))
        shown = truth.of_image(image_id)
        absent = [name for name in popular if name not in shown]
        if kind == "random":
            absent = [absent[index] for index in rng.permutation(len(absent))]
        own = sorted(truth.instances[image_id])
        for name in (own[index] for index in rng.permutation(len(own))[:per_image]):
            if not absent:
                break
            if kind == "adversarial":
                absent.sort(key=lambda other, name=name: -together[name, other])  # equal ones stay, the popular first
            questions.append(ObjectQuestion(image_id, name, "yes", kind))
            questions.append(ObjectQuestion(image_id, absent.pop(0), "no", kind))
    return questions
