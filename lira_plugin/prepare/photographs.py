"""A small set of photographs with outlines drawn by hand: what one's own data look like, for docs/own_data.md."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from lira_plugin.datasets.transforms import read_rgb
from lira_plugin.structures import decode_segmentation, encode_mask
from lira_plugin.written_aside import write_json

TRAIN, VAL = 24, 8
"""Pictures that are cut from the photographs for each split."""

_SHARES = (0.35, 0.8)
"""Side of a cut, of the shorter side of the photograph."""
_VISIBLE, _AREA = 0.6, 0.015
"""Share of a thing that is most of it, and share of a cut from which on a thing in it is annotated."""


def write_photographs(folder: Path, seed: int = 0) -> None:
    """Write ``images/``, ``train.json`` and ``val.json``, COCO files whose categories are phrases, to ``folder``.

    The photographs are those of scikit-image's package, and ``photographs.json`` beside this file has the outlines. Each
    picture is a square cut from one of them. The coins of the val split are other coins; the other things are the same as in
    training, mirrored and cut anew.

    Args:
        folder: to write to; it must not hold such files yet.
        seed: of the cuts.

    Raises:
        FileExistsError: the folder has these files already.
        ImportError: scikit-image is not installed.
    """
    existing = [name for name in ("train.json", "val.json") if (folder / name).exists()]
    if existing:
        raise FileExistsError(f"{folder} holds {' and '.join(existing)} already: name another folder")
    photographs = _photographs()
    outlines = json.loads(resources.files(__package__).joinpath("photographs.json").read_text())
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for split, count in (("train", TRAIN), ("val", VAL)):
        images, annotations = [], []
        for index in tqdm(range(count), desc=split, disable=None):
            source = outlines["images"][index % len(outlines["images"])]
            pixels, masks = _drawn(source, outlines["annotations"], photographs, is_val=split == "val")
            pixels, masks = _cut(pixels, masks, rng)
            name = f"{split}_{index:02d}.png"
            cv2.imwrite(str(folder / "images" / name), pixels[..., ::-1])
            height, width = pixels.shape[:2]
            images.append({"id": index, "file_name": name, "height": height, "width": width})
            for category_id, mask in masks:
                annotations.append(
                    {
                        "id": len(annotations),
                        "image_id": index,
                        "category_id": category_id,
                        "segmentation": encode_mask(mask),
                        "area": int(mask.sum()),
                        "iscrowd": 0,
                    }
                )
        write_json(
            folder / f"{split}.json",
            {"images": images, "categories": outlines["categories"], "annotations": annotations},
        )


def _photographs() -> Path:
    """The folder of the photographs that scikit-image's package brings."""
    try:
        return Path(str(resources.files("skimage"))) / "data"
    except ModuleNotFoundError:
        raise ImportError("the photographs are those of scikit-image: pip install scikit-image") from None


Masks = list[tuple[int, np.ndarray]]
"""Category ids with (H, W) bool masks."""


def _drawn(source: dict[str, Any], outlines: list[dict], folder: Path, is_val: bool) -> tuple[np.ndarray, Masks]:
    """A photograph, of the coins the part of the split, and its masks; all but the coins are mirrored for the val split."""
    pixels = read_rgb(str(folder / source["file_name"]))
    height, width = pixels.shape[:2]
    masks = [
        (outline["category_id"], decode_segmentation(outline["segmentation"], height, width))
        for outline in outlines
        if outline["image_id"] == source["id"]
    ]
    if source["file_name"] == "coins.png":
        part = slice(width // 2, None) if is_val else slice(None, width // 2)
    else:
        part = slice(None, None, -1) if is_val else slice(None)
    return np.ascontiguousarray(pixels[:, part]), [(category, mask[:, part]) for category, mask in masks]


def _cut(pixels: np.ndarray, masks: Masks, rng: np.random.Generator) -> tuple[np.ndarray, Masks]:
    """A random square that shows most of at least one thing, and the masks of all that cover a fair share of it."""
    height, width = pixels.shape[:2]
    while True:
        side = int(min(height, width) * rng.uniform(*_SHARES))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        window = np.s_[top : top + side, left : left + side]
        seen = [(category, mask[window], mask.sum()) for category, mask in masks if mask[window].mean() >= _AREA]
        if any(part.sum() >= _VISIBLE * whole for _, part, whole in seen):
            return pixels[window], [(category, part) for category, part, _ in seen]
