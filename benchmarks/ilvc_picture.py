"""Draw captions with and without ILVC: what the pixel encoder sees, the views of the predicted masks, and false marks in red.

python benchmarks/ilvc_picture.py work_dirs/tiny docs/images/ilvc.png
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from lira_plugin.datasets.transforms import read_rgb
from lira_plugin.evaluation.mask_iou import iou
from lira_plugin.scenes.detail_files import DetailFiles
from lira_plugin.scenes.mark_metric import read_marked_objects
from lira_plugin.scenes.mark_scores import ON_OBJECT, MarkedObject, phrase_mark
from lira_plugin.structures import Letterbox, decode_segmentation, region_view
from lira_plugin.visualization import Cell, PanelRow, palette, panel

IMAGE_SIZE, TILE_SIZE = 96, 64
RED = palette(1)[0]
Line = dict[str, Any]


def captions_of(path: Path) -> dict[str, Line]:
    """The captions in a file of ``DumpAnswers``, by image."""
    lines = map(json.loads, path.read_text().splitlines())
    return {line["image"]: line for line in lines if line["source"] == "captions"}


def mask_of(span: Line) -> np.ndarray:
    """(H, W) bool."""
    return decode_segmentation(span["segmentation"], *span["segmentation"]["size"])


def false_spans(line: Line, objects: Sequence[MarkedObject]) -> list[tuple[int, int]]:
    """Characters of the phrases whose mark is not that of the object under their mask."""
    found = []
    for span in line["spans"]:
        said, true = phrase_mark(span["phrase"], mask_of(span), objects)
        if said != true:
            found.append((span["start"], span["end"]))
    return found


def finds_all(line: Line, objects: Sequence[MarkedObject]) -> bool:
    """Whether the masks of a caption are each on another object, and on all of them."""
    overlaps = np.array([[iou(mask_of(span), thing.mask, empty=0.0) for thing in objects] for span in line["spans"]])
    return len(overlaps) == len(objects) == len(set(overlaps.argmax(1))) and bool((overlaps.max(1) >= ON_OBJECT).all())


def draw(image_path: str, sides: dict[str, Line], objects: Sequence[MarkedObject]) -> PanelRow:
    """One image: as the pixel encoder sees it, its views, and both captions."""
    image = read_rgb(image_path)
    letterbox = Letterbox(*image.shape[:2], IMAGE_SIZE)
    cells = [Cell(f"the image at {IMAGE_SIZE} pixels", _enlarged(letterbox.apply_image(image, (122, 116, 104))))]
    for span in next(iter(sides.values()))["spans"]:
        coarse = span["coarse_segmentation"]
        mask = decode_segmentation(coarse, *coarse["size"])
        cells.append(Cell(f"view: {span['phrase']}", _enlarged(region_view(image, mask, TILE_SIZE))))
    text, spans = "", []
    for name, line in sides.items():
        start = len(text) + len(name) + 2
        spans += [(start + first, start + last) for first, last in false_spans(line, objects)]
        text += f"{name}: {line['text']}\n"
    return PanelRow(cells, caption=text.rstrip(), spans=spans, colors=[RED] * len(spans))


def _enlarged(image: np.ndarray) -> np.ndarray:
    scale = 384 // max(image.shape[:2])
    return cv2.resize(np.asarray(Image.fromarray(image)), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="with the folders detail, lira_detail and lira_detail_no_ilvc")
    parser.add_argument("out", type=Path, help="PNG file")
    parser.add_argument(
        "--images", type=int, default=3, help="the first ones of three objects, in the order of the test"
    )
    args = parser.parse_args()
    objects = read_marked_objects(DetailFiles(args.root / "detail").instances("val"))
    folders = {"with ILVC": "lira_detail", "without ILVC": "lira_detail_no_ilvc"}
    sides = {name: captions_of(args.root / folder / "answers.jsonl") for name, folder in folders.items()}
    shown = [
        path
        for path, line in sides["with ILVC"].items()
        if len(objects[Path(path).name]) == 3 and finds_all(line, objects[Path(path).name])
    ][: args.images]
    rows = [
        draw(path, {name: lines[path] for name, lines in sides.items()}, objects[Path(path).name]) for path in shown
    ]
    Image.fromarray(panel(rows, cell_height=180, width=1000)).save(args.out)


if __name__ == "__main__":
    main()
