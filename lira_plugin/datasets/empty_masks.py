"""Annotations whose mask has no pixel: nothing can be learnt from them, and they do not say that there is no target.

Readers find those that can be told without decoding (:func:`~lira_plugin.structures.is_empty_annotation`), count and name them.
The others are found when a sample is made (``LetterboxImage``), and count as ``GroundingSample.empty_regions``.
"""

from collections.abc import Iterable
from typing import Any

from lira_plugin.structures import is_empty_annotation

EMPTY_EXPRESSION = "the mask of what it names has no pixel"
EMPTY_PHRASE = "the mask of a phrase has no pixel (the phrase is left out, not the record)"
EMPTY_ANNOTATION = "the mask of an annotation has no pixel"


def all_empty(segmentations: Iterable[Any]) -> bool:
    """Whether there are annotations, and none has a pixel; no annotation at all is "no target", which is another thing."""
    found = [is_empty_annotation(segmentation) for segmentation in segmentations]
    return bool(found) and all(found)


def leave_out_empty_phrases(caption: Any) -> None:
    """Take the phrases without a pixel out of a :class:`~lira_plugin.datasets.gcg.GroundedCaption`, and note them in it.

    A phrase with no annotation at all stays: its record contradicts the layout, which the reader says.
    """
    phrases, caption.phrases = caption.phrases, []
    for phrase in phrases:
        if any(phrase.segmentations) and all_empty(phrase.segmentations):
            caption.left_out.append((EMPTY_PHRASE, repr(caption.caption[phrase.start : phrase.end])))
        else:
            caption.phrases.append(phrase)
