"""The same images described with and without ILVC: what the captions and the yes-or-no answers hallucinate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lira_plugin.evaluation.chair_scores import ChairCaption, judge_caption, summarise_captions
from lira_plugin.evaluation.coco_objects import CocoObjects
from lira_plugin.evaluation.object_questions import ABSENT_KINDS, ObjectQuestion, object_questions
from lira_plugin.evaluation.yes_no_scores import YesNo, pope_verdict, yes_no_figures
from lira_plugin.structures import GroundedText

Ask = Callable[[Sequence[str], Sequence[str]], list[GroundedText]]
"""From paths of images and a question about each to answers, such as a ``LIRAInferencer``."""


@dataclass(frozen=True)
class ObjectAnswer:
    """A yes-or-no question about an object with its answer."""

    question: ObjectQuestion
    text: str
    answer: str

    @property
    def is_right(self) -> bool:
        """Whether POPE's rule finds the right verdict in the answer."""
        return pope_verdict(self.answer) == self.question.label

    def to_json(self) -> dict[str, Any]:
        """A line of a file of answers, with ``answer``, ``label`` and ``category``."""
        asked = self.question
        return {
            "image_id": asked.image_id,
            "question": self.text,
            "answer": self.answer,
            "label": asked.label,
            "category": asked.kind,
        }


@dataclass(frozen=True)
class DescribedImages:
    """What one model, or setting, says of the images.

    Args:
        captions: one an image, judged.
        answers: to the yes-or-no questions.
    """

    captions: list[ChairCaption]
    answers: list[ObjectAnswer] = field(default_factory=list)

    def wrong_answers(self) -> dict[str, list[str]]:
        """Questions that were answered wrong, with their answers, by image id; what several kinds ask alike is there once."""
        wrong: dict[str, dict[str, None]] = {}
        for one in self.answers:
            if not one.is_right:
                wrong.setdefault(one.question.image_id, {})[f"{one.text} {one.answer}"] = None
        return {image_id: list(texts) for image_id, texts in wrong.items()}

    def figures(self) -> dict[str, float]:
        """CHAIR's scores, and POPE's as ``<kind>/<name>`` for each kind of absent objects."""
        figures = summarise_captions(self.captions)
        for kind in ABSENT_KINDS:
            verdicts = [
                YesNo(pope_verdict(one.answer), one.question.label) for one in self.answers if one.question.kind == kind
            ]
            if verdicts:
                figures |= {f"{kind}/{name}": value for name, value in yes_no_figures(verdicts).items()}
        return figures


def draw_images(truth: CocoObjects, image_root: Path, count: int, seed: int) -> dict[str, str]:
    """Paths of ``count`` images, or of all where there are fewer, by image id; the same for the same seed.

    Raises:
        FileNotFoundError: a drawn image is not in the folder.
        ValueError: the files do not say how an image is called, or ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"at least one image must be described, got a count of {count}")
    ids = list(truth.instances)
    drawn = [ids[index] for index in np.random.default_rng(seed).permutation(len(ids))[:count]]
    files = ", ".join(map(str, truth.files.values()))
    if nameless := [image_id for image_id in drawn if image_id not in truth.file_names]:
        raise ValueError(f"image {nameless[0]!r} of {files} has no 'file_name', so its picture cannot be found")
    paths = {image_id: image_root / truth.file_names[image_id] for image_id in drawn}
    if missing := [path for path in paths.values() if not path.is_file()]:
        raise FileNotFoundError(
            f"{len(missing)} of {len(paths)} images of {files} are not in {image_root}, such as {missing[0].name}; say with "
            "--images which folder they are in"
        )
    return {image_id: str(path) for image_id, path in paths.items()}


def describe_images(
    ask: Ask,
    truth: CocoObjects,
    images: dict[str, str],
    request: str,
    questions: Sequence[ObjectQuestion] = (),
    wording: str = "Is there {object} in the image?",
) -> DescribedImages:
    """Ask for a caption of each image, and whether it shows objects.

    Args:
        ask: the model, with ILVC or without.
        truth: what the images show.
        images: paths by image id.
        request: for a caption.
        questions: about these images, see :func:`all_questions`.
        wording: of the questions; ``{object}`` becomes the object with its article.

    Raises:
        ValueError: the wording has no ``{object}``.
    """
    if "{object}" not in wording:
        raise ValueError(f"the question about objects must hold '{{object}}', got {wording!r}")
    captions = [
        judge_caption(image_id, answer.text, truth.of_image(image_id), truth.words)
        for image_id, answer in zip(images, ask(list(images.values()), [request] * len(images)), strict=True)
    ]
    texts = [wording.replace("{object}", with_article(entry.object)) for entry in questions]
    answers = ask([images[entry.image_id] for entry in questions], texts) if questions else []
    return DescribedImages(
        captions, [ObjectAnswer(*parts) for parts in zip(questions, texts, (one.text for one in answers), strict=True)]
    )


def all_questions(truth: CocoObjects, image_ids: Sequence[str], per_image: int, seed: int) -> list[ObjectQuestion]:
    """Questions with absent objects of every kind, see :func:`object_questions`; none where ``per_image`` is 0."""
    return [entry for kind in ABSENT_KINDS for entry in object_questions(truth, image_ids, kind, per_image, seed)]


def with_article(name: str) -> str:
    """Put "a" or "an" in front."""
    return ("an " if name[:1] in "aeiou" else "a ") + name
