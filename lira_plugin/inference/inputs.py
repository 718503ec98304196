"""What is asked about which image, from everything that users have: paths, arrays, folders, files of questions."""

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from PIL import Image

from lira_plugin.datasets.image_file import IMAGE_FORMATS, is_address
from lira_plugin.datasets.question_files import read_questions
from lira_plugin.datasets.transforms import read_rgb, upright_rgb
from lira_plugin.inference.image_urls import RemoteImage, check_address, fetch_image
from lira_plugin.settings import WrongSetting
from lira_plugin.structures import Conversation, GroundedText, PhraseSpan, Record, Region, Turn, refer_label

ImageInput = str | Path | np.ndarray | Image.Image
"""Path (or address, where those are allowed), (H, W, 3) uint8 RGB array or PIL image."""

History = Sequence[tuple[str, GroundedText]]
"""Earlier questions about the image with their answers."""


@dataclass(frozen=True)
class Prompt:
    """A question about an image.

    Args:
        name: path or address of the image, or ``image 3`` for what came as the third; prompts of one name are about one image.
        image: the image; None for a question without one.
        question: the question.
    """

    name: str
    image: ImageInput | RemoteImage | None
    question: str

    def pixels(self) -> np.ndarray | None:
        """(H, W, 3) uint8 RGB, upright, of an image that is in memory or fetched; None where it is in a file or there is none.

        Raises:
            OSError: it cannot be fetched.
            ValueError: the file behind a PIL image cannot be read.
        """
        if self.image is None or isinstance(self.image, str | Path):
            return None
        if isinstance(self.image, RemoteImage):
            return self.image.pixels()
        try:
            return image_pixels(self.image)
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.name} cannot be read as an image ({error})") from error

    def record(self, index: int, history: History = (), force: bool = False) -> Record:
        """Write the prompt as a record without an answer.

        Args:
            index: of the prompt among all.
            history: earlier turns; their spans become regions.
            force: the answer is to segment what the RefSeg question names.

        Raises:
            ValueError: ``force`` for another question than RefSeg's, with a history, or without an image.
        """
        turns, regions = _earlier(history)
        if force:
            label = refer_label(self.question)
            if label is None or history:
                raise ValueError(
                    "force segments what a question of the form 'Please segment the red car.' names, without a history; "
                    f"got {self.question!r}" + " with a history" * bool(history)
                )
            if self.image is None:
                raise ValueError(f"force segments something in an image, and {self.question!r} comes without one")
            regions = [Region(label, ())]
        path = None if self.image is None else self.name
        conversation = Conversation((*turns, Turn(self.question, "")))
        return Record("inference", str(index), path, conversation, tuple(regions))


def image_pixels(image: ImageInput) -> np.ndarray:
    """(H, W, 3) uint8 RGB, upright, of a path, an array or a PIL image.

    Raises:
        OSError: the file is not there.
        ValueError: the file cannot be read.
    """
    if isinstance(image, Image.Image):
        return upright_rgb(image)
    return image if isinstance(image, np.ndarray) else read_rgb(str(image))


def read_prompts(
    images: ImageInput | None | Sequence[ImageInput | None],
    questions: str | Sequence[str] | None = None,
    *,
    allow_urls: bool = False,
) -> list[Prompt]:
    """Pair images with questions.

    Args:
        images: an image, or several: a list, or the frames of a video as (N, H, W, 3) uint8. None is a question without image. A
            folder stands for its images in the order of their names. A ``.jsonl`` file has images with questions
            (:func:`~lira_plugin.datasets.question_files.read_questions`).
        questions: one for all images, several about one image, or one for each; None for a ``.jsonl`` file only.
        allow_urls: fetch images from http(s) addresses, each when it is its turn.

    Raises:
        FileNotFoundError: an image is not there.
        ValueError: there is nothing to ask, there are not as many images as questions, an array is no image, or an image is an
            address and those are not allowed.
        WrongSetting: images or questions are of another type.
    """
    if not isinstance(questions, str | list | tuple | None):
        raise WrongSetting(f"questions must be a text or a list of texts, got {questions!r:.80}")
    if not isinstance(images, str | Path | np.ndarray | Image.Image | Sequence | None):
        raise WrongSetting(
            "images must be a path, a PIL image, an (H, W, 3) uint8 array, None, or a list of those, got "
            f"{images!r:.80} ({type(images).__name__})"
        )
    is_path = isinstance(images, str | Path) and _address_of(images) is None
    if is_path and Path(images).suffix == ".jsonl":
        if questions is not None:
            raise ValueError(f"{images} has its own questions, so none can be given beside it")
        listed = read_questions(images, allow_urls)
        images, questions = [item.image for item in listed], [item.question for item in listed]
    asked = [questions] if isinstance(questions, str) else list(questions or ())
    if not asked or not all(isinstance(question, str) and question.strip() for question in asked):
        raise ValueError(f"questions must be texts that are not empty, got {questions!r}")
    if isinstance(images, str | Path) and is_path and os.path.isdir(images):
        given: list[ImageInput | None] = list(_images_in(Path(images)))
        if len(asked) > 1:
            raise ValueError(f"a folder takes one question for all of its images, got {len(asked)}")
    elif images is None or (isinstance(images, str | Path | np.ndarray | Image.Image) and not _is_video(images)):
        given = [images] * len(asked)
    else:
        given = list(images)
    if not given:
        raise ValueError("there is no image to ask about")
    if len(asked) == 1:
        asked *= len(given)
    if len(asked) != len(given):
        raise ValueError(f"{len(given)} images need as many questions, or one for all; got {len(asked)}")
    names: dict[int, str] = {}
    fetch = lru_cache(1)(fetch_image)  # questions about one image come one after the other
    prompts = []
    for index, (image, question) in enumerate(zip(given, asked), 1):
        if (url := _address_of(image)) is not None:
            check_address(url, allow_urls)
            prompts.append(Prompt(url, RemoteImage(url, fetch), question))
        else:
            prompts.append(Prompt(_name(image, names.setdefault(id(image), f"image {index}")), image, question))
    return prompts


def _address_of(image: ImageInput | None) -> str | None:
    """The address that a text is, if no file is called so."""
    if not isinstance(image, str | Path):
        return None
    text = re.sub(r"^(https?):/(?!/)", r"\1://", str(image))  # a Path has lost one of the slashes
    return text if is_address(text) and not os.path.exists(image) else None


def _is_video(images: ImageInput | None) -> bool:
    """Whether an array is (N, H, W, 3)."""
    return isinstance(images, np.ndarray) and images.ndim == 4


def _name(image: ImageInput | None, otherwise: str) -> str:
    """The path of a file, which has to be there; ``otherwise`` for what is in memory."""
    if isinstance(image, str | Path):
        if not os.path.isfile(image):  # false, and no error, for a name that no file can have
            raise FileNotFoundError(f"there is no image {image!s:.200}")
        return str(image)
    if image is None:
        return "no image"
    if isinstance(image, Image.Image):
        return otherwise
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"{otherwise} must be a path, a PIL image or an (H, W, 3) uint8 array, got {got}")
    if not image.size:
        raise ValueError(f"{otherwise} has no pixels: {image.shape}")
    return otherwise


def _images_in(folder: Path) -> list[str]:
    """Files of the folder, but not of folders in it, with a suffix of the formats that are read."""
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in IMAGE_FORMATS}
    files = sorted(path for path in folder.iterdir() if path.is_file())
    images = [str(path) for path in files if path.suffix.lower() in known]
    if not images:
        raise ValueError(
            f"no images in the folder {folder} (it has {len(files)} files; folders in it are not searched)"
        )
    if len(images) < len(files):
        others = [path.name for path in files if path.suffix.lower() not in known]
        shown = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        message = f"{folder}: left out {len(others)} files that are no images ({shown})"
        print_log(message, logger="current", level=logging.WARNING)
    return images


def _earlier(history: History) -> tuple[list[Turn], list[Region]]:
    """Turns with their regions; a ``<seg>`` without a phrase cannot be in a turn and is left out.

    Raises:
        WrongSetting: an entry is not a question with its answer.
    """
    turns, regions = [], []
    if not isinstance(history, list | tuple):
        raise WrongSetting(f"history must be a list of pairs (question, GroundedText), got {history!r:.80}")
    for index, entry in enumerate(history):
        question, answer = entry if isinstance(entry, list | tuple) and len(entry) == 2 else (None, None)
        if not isinstance(question, str) or not isinstance(answer, GroundedText):
            raise WrongSetting(
                f"history[{index}] must be a pair (question, GroundedText), got {entry!r:.80}: give answers as the inferencer "
                "returned them, or a text without regions as GroundedText(text)"
            )
        spans = [span for span in answer.spans if span.end > span.start]
        if len(spans) < len(answer.spans):
            count = len(answer.spans) - len(spans)
            message = f"the history keeps the text {answer.text!r}, but not {count} of its masks, which have no phrase"
            print_log(message, logger="current", level=logging.WARNING)
        phrases = (PhraseSpan(span.start, span.end, len(regions) + index) for index, span in enumerate(spans))
        turns.append(Turn(question, answer.text, tuple(phrases)))
        regions += [Region(span.phrase, (span.rle,)) for span in spans]
    return turns, regions
