"""Questions that other frameworks ask about images, answered in words."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from lira_plugin.datasets.llava import IMAGE
from lira_plugin.datasets.transforms import upright_rgb
from lira_plugin.inference.inferencer import LIRAInferencer
from lira_plugin.inference.inputs import ImageInput


@dataclass(frozen=True)
class TextQuestion:
    """A question with what it is about.

    Args:
        name: of the question, for messages.
        text: may hold ``<image>`` where other models expect an image; LIRA's template says where it goes.
        images: at most one.
    """

    name: str
    text: str
    images: Sequence[ImageInput] = ()


def answer_in_words(lira: LIRAInferencer, questions: Sequence[TextQuestion], **settings: Any) -> list[str]:
    """Answer questions as the suites of ``tools/eval_all.py`` are answered: no view is cut, unless ``settings`` ask for it.

    Images with the same pixels are encoded once, whatever objects hold them.

    Args:
        lira: the model; its recipe says how images are tiled.
        questions: all questions, whose images are in memory together.
        settings: see :meth:`~lira_plugin.inference.LIRAInferencer.iterate`; by default ``ilvc=False``.

    Returns:
        The text of each answer, in order.

    Raises:
        FileNotFoundError: an image is not there.
        ValueError: a question is blank, has several images, or one that cannot be read.
    """
    if not questions:
        return []
    known: dict[str, np.ndarray] = {}
    images = [_image_of(question, known) for question in questions]
    texts = [_text_of(question) for question in questions]
    return [answer.text for answer in lira(images, texts, **{"ilvc": False, **settings})]


def _text_of(question: TextQuestion) -> str:
    text = question.text.replace(IMAGE, "").strip()
    if not text:
        raise ValueError(f"{question.name}: the question is blank, got {question.text!r}")
    return text


def _image_of(question: TextQuestion, known: dict[str, np.ndarray]) -> ImageInput | None:
    """The image as the inferencer takes it: one object for equal pixels, which is then kept in ``known``."""
    if len(question.images) > 1:
        raise ValueError(
            f"{question.name}: it is about {len(question.images)} images, and LIRA takes one; leave such questions out"
        )
    image = question.images[0] if question.images else None
    if isinstance(image, Image.Image):
        try:
            image = upright_rgb(image)
        except (OSError, ValueError) as error:
            raise ValueError(f"{question.name}: its image cannot be read ({error})") from error
    if not isinstance(image, np.ndarray):
        return image
    digest = hashlib.sha256(f"{image.dtype} {image.shape}".encode() + image.tobytes()).hexdigest()
    return known.setdefault(digest, image)
