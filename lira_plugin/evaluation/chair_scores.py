"""CHAIR: which objects a caption names that its image does not show.

The scores are those of Rohrbach et al., "Object Hallucination in Image Captioning". Recall and length are those that OPERA's
script adds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lira_plugin.evaluation.object_words import Mention, ObjectWords


@dataclass(frozen=True)
class ChairCaption:
    """A caption, judged.

    Args:
        image_id: of its image.
        caption: the text.
        mentions: all objects that it names, in order; what is named twice counts twice.
        hallucinated: those of them that the image does not show.
        objects: what the image shows.
        length: words and punctuation marks, a double word once.
    """

    image_id: str
    caption: str
    mentions: tuple[Mention, ...]
    hallucinated: tuple[Mention, ...]
    objects: frozenset[str]
    length: int

    @property
    def recalled(self) -> frozenset[str]:
        """The objects of the image that the caption names."""
        return self.objects & {mention.object for mention in self.mentions}

    def to_json(self) -> dict[str, Any]:
        """Plain types for a line of error analysis; ``score`` is the caption's CHAIRi, so less is better."""
        share = _share(len(self.hallucinated), len(self.mentions))
        return {
            "image_id": self.image_id,
            "caption": self.caption,
            "score": share,
            "CHAIRs": int(bool(self.hallucinated)),
            "CHAIRi": share,
            "recall": _share(len(self.recalled), len(self.objects)),
            "length": self.length,
            "objects": sorted(self.objects),
            "mentions": [mention._asdict() for mention in self.mentions],
            "hallucinated": [mention._asdict() for mention in self.hallucinated],
        }


def judge_caption(image_id: str, caption: str, objects: frozenset[str], words: ObjectWords) -> ChairCaption:
    """Find what a caption names, and what of it is not among the ``objects`` of its image."""
    found = words.look_up(caption)
    hallucinated = tuple(mention for mention in found.mentions if mention.object not in objects)
    return ChairCaption(image_id, caption, found.mentions, hallucinated, objects, found.length)


def summarise_captions(captions: Sequence[ChairCaption]) -> dict[str, float]:
    """The scores of captions.

    Returns:
        ``CHAIRs``, the share of captions with a hallucinated object; ``CHAIRi``, the share of mentions that are hallucinated;
        ``recall``, the share of the images' objects that are named, over all images together; ``length``, the mean of the
        captions'; and the counts ``captions`` and ``mentions``. A share of nothing is 0; CHAIR's script divides by zero there.

    Raises:
        ValueError: there is no caption.
    """
    if not captions:
        raise ValueError("there is no caption to score")
    mentions = sum(len(caption.mentions) for caption in captions)
    return {
        "CHAIRs": _share(sum(bool(caption.hallucinated) for caption in captions), len(captions)),
        "CHAIRi": _share(sum(len(caption.hallucinated) for caption in captions), mentions),
        "recall": _share(
            sum(len(caption.recalled) for caption in captions), sum(len(caption.objects) for caption in captions)
        ),
        "length": sum(caption.length for caption in captions) / len(captions),
        "captions": len(captions),
        "mentions": mentions,
    }


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0
