"""Questions about images, to be asked of a trained model: a JSON Lines file."""

import json
from dataclasses import dataclass
from pathlib import Path

from lira_plugin.structures import Region


@dataclass(frozen=True)
class ImageQuestion:
    """A question about an image.

    Args:
        image: path of the image.
        question: what to ask.
        task: what kind of question it is, such as ``RefSeg``; for pictures and grouping.
        regions: ground truth, where it is known.
    """

    image: str
    question: str
    task: str = ""
    regions: tuple[Region, ...] = ()


def read_questions(path: str | Path) -> list[ImageQuestion]:
    """Read a JSON Lines file: one ``{"image": "a.jpg", "question": "...", "task": "RefSeg"}`` a line.

    ``task`` may be left out, and blank lines are. The path of an image is relative to the file's folder.

    Raises:
        FileNotFoundError: an image is not there.
        ValueError: a line is not of this form, or there is none.
    """
    path = Path(path)
    questions = []
    for line_number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            questions.append(_parse(json.loads(line), path.parent))
        except ValueError as error:
            raise ValueError(f"{path}, line {line_number}: {error}") from error
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{path}, line {line_number}: {error}") from error
    if not questions:
        raise ValueError(f'{path} holds no question; a line is {{"image": "a.jpg", "question": "What is this?"}}')
    return questions


def _parse(entry: object, folder: Path) -> ImageQuestion:
    fields = {"image", "question", "task"}
    if not isinstance(entry, dict) or not {"image", "question"} <= entry.keys() <= fields:
        keys = sorted(entry) if isinstance(entry, dict) else type(entry).__name__
        raise ValueError(f"expected an object with image, question and, if wanted, task, got {keys}")
    if not all(isinstance(value, str) for value in entry.values()) or not entry["question"].strip():
        raise ValueError("image, question and task must be texts, and the question not empty")
    image = folder / entry["image"]
    if not image.is_file():
        raise FileNotFoundError(f"there is no image {image}; its path is relative to the folder of the questions")
    return ImageQuestion(str(image), entry["question"], entry.get("task", ""))
