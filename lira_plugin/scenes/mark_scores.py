"""What a model says of the marks of objects, as pure functions: phrases, questions, and sentences that name a mark."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lira_plugin.evaluation.mask_iou import iou
from lira_plugin.evaluation.yes_no_scores import YesNo
from lira_plugin.scenes.scene_marks import named_mark
from lira_plugin.structures import decode_union

ON_OBJECT = 0.5
"""A phrase is about an object if its mask has at least this IoU with it."""


@dataclass(frozen=True, eq=False)
class MarkedObject:
    """An object of a scene.

    Args:
        words: its colour and shape.
        mark: ``""`` where it has none.
        segmentation: COCO's polygons or RLE.
        size: (height, width) of the image.
    """

    words: frozenset[str]
    mark: str
    segmentation: Any
    size: tuple[int, int]

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool, decoded each time."""
        return decode_union([self.segmentation], *self.size)


class PhraseMark(NamedTuple):
    """A phrase: the mark that it names, and that of the object under its mask; ``""`` is no mark."""

    said: str
    true: str | None
    """None where the mask is on no object."""


def phrase_mark(phrase: str, mask: np.ndarray, objects: Sequence[MarkedObject]) -> PhraseMark:
    """Compare a phrase with the object under its mask.

    Args:
        phrase: the words.
        mask: (H, W) bool.
        objects: of the image; that with the highest IoU is meant, if it is at least :data:`ON_OBJECT`.
    """
    overlaps = [iou(mask, thing.mask, empty=0.0) for thing in objects]
    best = int(np.argmax(overlaps)) if overlaps else 0
    true = objects[best].mark if overlaps and overlaps[best] >= ON_OBJECT else None
    return PhraseMark(named_mark(phrase), true)


def mark_figures(phrases: Sequence[PhraseMark]) -> dict[str, float]:
    """The figures of phrases, of which those on no object count in ``lost`` alone.

    Returns:
        ``right``, the share whose mark is the object's, or that name none where it has none; ``hallucinated``, the share that
        name a mark that the object has not; ``missed``, the share that name none where it has one; these three add up to 1.
        ``false_marks``, of the phrases that name a mark those whose object has not got it; ``on_plain``, of the phrases about
        objects without a mark those that name one; ``lost``, of all phrases those on no object. A share of nothing is 0.

    Raises:
        ValueError: there is no phrase.
    """
    if not phrases:
        raise ValueError("there is no phrase to score")
    known = [phrase for phrase in phrases if phrase.true is not None]
    naming = [phrase for phrase in known if phrase.said]
    plain = [phrase for phrase in known if not phrase.true]
    false = sum(phrase.said != phrase.true for phrase in naming)
    return {
        "right": _share(sum(phrase.said == phrase.true for phrase in known), len(known)),
        "hallucinated": _share(false, len(known)),
        "missed": _share(sum(bool(phrase.true) and not phrase.said for phrase in known), len(known)),
        "false_marks": _share(false, len(naming)),
        "on_plain": _share(sum(bool(phrase.said) for phrase in plain), len(plain)),
        "lost": _share(len(phrases) - len(known), len(phrases)),
        "phrases": len(phrases),
    }


def judge_answer(question: str, answer: str, objects: Sequence[MarkedObject]) -> YesNo:
    """A question such as "Is there a red circle with dots?", which is right if an object has all of these words, and its answer.

    The last word of the answer counts; what is neither yes nor no is ``other``. The group is the mark that is asked for.
    """
    asked, mark = frozenset(question.lower().replace("?", " ").split()), named_mark(question.replace("?", " "))
    label = "yes" if any(thing.words <= asked and thing.mark == mark for thing in objects) else "no"
    last = answer.lower().strip(" .").rpartition(" ")[2]
    return YesNo(last if last in ("yes", "no") else "other", label, mark)


def judge_phrase(answer: YesNo, phrases: Sequence[PhraseMark]) -> YesNo:
    """The same question by what the phrase of the answer names: yes if it is the mark that is asked for."""
    said = "other" if not phrases else "yes" if phrases[0].said == answer.group else "no"
    return answer._replace(said=said)


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0
