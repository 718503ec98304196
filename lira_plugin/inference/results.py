"""What an inferencer finds, and the files it leaves."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from lira_plugin.structures import GroundedText
from lira_plugin.visualization import save_image


@dataclass(frozen=True)
class InferenceResult:
    """An answer with what it is about.

    Args:
        index: of the question among all.
        name: path of the image, or ``image 3``.
        question: the question.
        answer: its masks are at the resolution of the image.
        image: (H, W, 3) uint8, upright; None where there is none.
    """

    index: int
    name: str
    question: str
    answer: GroundedText
    image: np.ndarray | None


class ResultWriter:
    """Writes results into a folder as they come.

    * ``predictions.json``, when the writer is closed: a list in the order of the questions of ``{"image", "size": [height,
      width], "question", "text", "raw_text", "finished", "spans", "overlay"}``; a span is ``{"start", "end", "phrase",
      "score", "segmentation", "coarse_segmentation", "mask"}`` with COCO's compressed RLE and the path of a PNG.
    * ``masks/<index>_<image>_<span>.png``: 0 and 255.
    * ``overlays/<index>_<image>.png``: the answer, drawn.

    Files of an earlier run are overwritten where they have the same name.

    Args:
        out_dir: the folder; made if missing.
        draw: from a result to a picture (H, W, 3) uint8.
    """

    def __init__(self, out_dir: str | Path, draw: Callable[[InferenceResult], np.ndarray]) -> None:
        self.out_dir, self.draw = Path(out_dir), draw
        self._entries: dict[int, dict[str, Any]] = {}
        for folder in ("masks", "overlays"):
            (self.out_dir / folder).mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "ResultWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()  # after an error too: what is there by then may have cost hours

    def add(self, result: InferenceResult) -> None:
        """Write masks and picture of a result."""
        size = None if result.image is None else [int(side) for side in result.image.shape[:2]]
        answer = result.answer.to_json()
        entry = {"image": result.name, "size": size, "question": result.question, **answer, "overlay": None}
        stem = f"{result.index:05d}_{_file_name(result.name)}"
        for span_index, span in enumerate(result.answer.spans):
            name = f"masks/{stem}_{span_index}.png"
            Image.fromarray(span.mask.astype(np.uint8) * 255).save(self.out_dir / name)
            entry["spans"][span_index]["mask"] = name
        if result.image is not None:
            entry["overlay"] = f"overlays/{stem}.png"
            save_image(self.out_dir / entry["overlay"], self.draw(result))
        self._entries[result.index] = entry

    def close(self) -> None:
        """Write ``predictions.json``."""
        entries = [self._entries[index] for index in sorted(self._entries)]
        lines = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries)
        (self.out_dir / "predictions.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _file_name(name: str) -> str:
    """The stem of an image's path, of letters, digits and the like only."""
    return re.sub(r"[^\w.-]+", "_", Path(name).stem)[:80] or "image"
