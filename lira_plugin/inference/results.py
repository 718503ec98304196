"""What an inferencer finds, and the files it leaves."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

import numpy as np
from PIL import Image

from lira_plugin.inference.image_answer import ImageAnswer
from lira_plugin.inference.image_urls import RemoteImage
from lira_plugin.inference.inputs import Prompt
from lira_plugin.structures import GroundedText
from lira_plugin.visualization import save_image
from lira_plugin.written_aside import json_line, remove, write_json_list


@dataclass(frozen=True)
class InferenceResult:
    """An answer with what it is about.

    Args:
        index: of the question among all.
        name: path of the image, or ``image 3``.
        question: the question.
        answer: its masks are at the resolution of the image.
        image: (H, W, 3) uint8, upright; None where there is none.
        error: why the question could not be asked, as of an image that cannot be read; empty where there is an answer.
    """

    index: int
    name: str
    question: str
    answer: GroundedText
    image: np.ndarray | None
    error: str = ""

    @classmethod
    def of(cls, index: int, prompt: Prompt, answer: GroundedText, image: np.ndarray | None) -> "InferenceResult":
        """An answer that draws itself, with the (H, W, 3) image that the model has seen; a fetched one is kept."""
        size = None if image is None else image.shape[:2]
        source = image if isinstance(prompt.image, RemoteImage) else prompt.image
        about = ImageAnswer.of(answer, prompt.question, prompt.name, source, size)
        return cls(index, prompt.name, prompt.question, about, image)


class ResultWriter:
    """Writes results into a folder as they come.

    * ``predictions.jsonl``: a line for each answer as soon as it is there. An object is ``{"index", "image", "size": [height,
      width], "question", "text", "raw_text", "finished", "spans", "overlay", "error"}``; a span is ``{"start", "end", "phrase",
      "score", "segmentation", "coarse_segmentation", "mask"}`` with COCO's compressed RLE and the path of a PNG. ``error`` is
      null, or says why the question could not be asked.
    * ``predictions.json``, when the writer is closed: a list of the same objects in the order of the questions.
    * ``masks/<index>_<image>_<span>.png``: 0 and 255.
    * ``overlays/<index>_<image>.png``: the answer, drawn.

    Args:
        out_dir: the folder; made if missing.
        draw: from a result to a picture (H, W, 3) uint8; None writes no pictures.
        overwrite: remove what an earlier run has left there, when the first answer comes.

    Raises:
        FileExistsError: the folder has answers of an earlier run, and ``overwrite`` is False.
    """

    def __init__(
        self, out_dir: str | Path, draw: Callable[[InferenceResult], np.ndarray] | None, overwrite: bool = False
    ) -> None:
        self.out_dir, self.draw = Path(out_dir), draw
        self.errors = 0
        self._lines = self.out_dir / "predictions.jsonl"
        self._file: TextIO | None = None
        if not overwrite and (found := [path.name for path in self._own_files() if path.exists()]):
            raise FileExistsError(
                f"{out_dir} has {', '.join(found)} of an earlier run; choose another folder, or replace them with --overwrite "
                "(overwrite=True; docs/troubleshooting.md#answers-of-an-earlier-run)"
            )
        self.out_dir.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "ResultWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()  # after an error too: what is there by then may have cost hours

    def add(self, result: InferenceResult) -> None:
        """Write a result with its masks and its picture."""
        if self._file is None:
            self._file = self._begin()
        size = None if result.image is None else [int(side) for side in result.image.shape[:2]]
        entry = {"index": result.index, "image": result.name, "size": size, "question": result.question}
        entry |= {**result.answer.to_json(), "overlay": None, "error": result.error or None}
        stem = f"{result.index:05d}_{_file_name(result.name)}"
        for span_index, span in enumerate(result.answer.spans):
            name = f"masks/{stem}_{span_index}.png"
            Image.fromarray(span.mask.astype(np.uint8) * 255).save(self.out_dir / name)
            entry["spans"][span_index]["mask"] = name
        if result.image is not None and self.draw is not None:
            entry["overlay"] = f"overlays/{stem}.png"
            save_image(self.out_dir / entry["overlay"], self.draw(result))
        self._file.write(json_line(entry) + "\n")
        self._file.flush()
        self.errors += bool(result.error)

    def close(self) -> None:
        """Write ``predictions.json``, if there is an answer."""
        if self._file is None:
            return
        self._file.close()
        self._file = None
        with self._lines.open(encoding="utf-8") as file:
            entries = [json.loads(line) for line in file]
        write_json_list(self.out_dir / "predictions.json", sorted(entries, key=lambda entry: entry["index"]))

    def _own_files(self) -> list[Path]:
        return [self.out_dir / name for name in ("predictions.json", "predictions.jsonl", "masks", "overlays")]

    def _begin(self) -> TextIO:
        for path in self._own_files():
            remove(path)
        for folder in ("masks", "overlays"):
            (self.out_dir / folder).mkdir()
        return self._lines.open("w", encoding="utf-8")


def _file_name(name: str) -> str:
    """The stem of an image's path, of letters, digits and the like only."""
    return re.sub(r"[^\w.-]+", "_", Path(name).stem)[:80] or "image"
