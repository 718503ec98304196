"""Answers as other tools take them: COCO files, LabelMe files, and supervision's ``Detections``."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lira_plugin.structures.mask_shapes import coco_box, mask_boxes, outlines

if TYPE_CHECKING:
    from lira_plugin.structures.grounding import GroundedSpan

UNNAMED = "object"
"""What a mask without a phrase is called."""

_LABELME_VERSION = "5.5.0"
"""Of LabelMe's format."""


@dataclass(frozen=True)
class ExportedImage:
    """The spans of an image, and what a file has to say of it.

    Args:
        spans: with their masks.
        file_name: of the image, as it is to stand in the file.
        size: (height, width) of the image; None takes that of the masks.
    """

    spans: Sequence["GroundedSpan"]
    file_name: str = ""
    size: tuple[int, int] | None = None

    def known_size(self) -> tuple[int, int]:
        """(height, width) in pixels.

        Raises:
            ValueError: there is neither a size nor a mask, or a mask has another size.
        """
        sizes = {span.mask.shape for span in self.spans} | ({tuple(self.size)} if self.size is not None else set())
        name = self.file_name or "the image"
        if not sizes:
            raise ValueError(f"{name}: without a mask the size is unknown, so give size=(height, width)")
        if len(sizes) > 1:
            raise ValueError(f"{name}: masks and image must have one size, got {sorted(sizes)}")
        ((height, width),) = sizes
        return int(height), int(width)


def coco_file(
    images: Iterable[ExportedImage], *, polygons: bool = False, classes: Sequence[str] | None = None, first_id: int = 1
) -> dict[str, Any]:
    """A COCO file of images, with an annotation for each mask that has a pixel.

    Each phrase is a category. Annotations have a ``score`` too, as in files of results. Images of one file name are one image.

    Args:
        images: with their spans.
        polygons: write outlines, which fill holes; else compressed RLE, which is exact.
        classes: phrases that are categories, with the ids 1, 2, ...; None takes those of the spans as they come.
        first_id: of images and annotations.

    Raises:
        ValueError: a size is unknown, sizes differ, or a phrase is not among ``classes``.
    """
    entries: dict[str, dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    ids = _ClassIds(classes)
    for image in images:
        height, width = image.known_size()
        new = {"id": first_id + len(entries), "file_name": image.file_name, "height": height, "width": width}
        entry = entries.setdefault(image.file_name, new)
        if (entry["height"], entry["width"]) != (height, width):
            raise ValueError(f"{image.file_name} is {entry['height']}x{entry['width']} and {height}x{width}")
        for span in image.spans:
            if not span.mask.any():
                continue
            annotation = {
                "id": first_id + len(annotations),
                "image_id": entry["id"],
                "category_id": 1 + ids.of(span.phrase),
                "segmentation": outlines(span.mask) if polygons else span.rle,
                "area": int(np.count_nonzero(span.mask)),
                "bbox": coco_box(span.mask),
                "iscrowd": 0,
                "score": float(span.score),
            }
            annotations.append(annotation)
    categories = [{"id": index, "name": name} for index, name in enumerate(ids.names, 1)]
    info = {"description": "answers of lira_plugin"}  # pycocotools asks for one
    return {"info": info, "images": list(entries.values()), "annotations": annotations, "categories": categories}


def labelme_file(image: ExportedImage, png: bytes | None = None) -> dict[str, Any]:
    """A LabelMe file with a polygon for each piece of each mask; polygons fill holes.

    Pieces of one mask have a ``group_id`` in common. The score is in the ``description``.

    Args:
        image: ``file_name`` is relative to the folder that the file will lie in.
        png: a PNG of the image, to be part of the file.

    Raises:
        ValueError: the size of the image is unknown.
    """
    height, width = image.known_size()
    shapes: list[dict[str, Any]] = []
    for index, span in enumerate(image.spans):
        pieces = outlines(span.mask)
        shapes += [
            {
                "label": span.phrase or UNNAMED,
                "points": [[float(x), float(y)] for x, y in zip(piece[::2], piece[1::2])],
                "group_id": index if len(pieces) > 1 else None,
                "description": f"score {span.score:.3f}",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for piece in pieces
        ]
    return {
        "version": _LABELME_VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image.file_name,
        "imageData": None if png is None else base64.b64encode(png).decode("ascii"),
        "imageHeight": height,
        "imageWidth": width,
    }


def detections(spans: Sequence["GroundedSpan"], classes: Sequence[str] | None = None) -> Any:
    """``supervision.Detections`` of spans: boxes, masks, scores, class ids, and the phrases as ``data["class_name"]``.

    Args:
        spans: with masks of one size.
        classes: phrases in the order of their class ids; None numbers those of the spans as they come.

    Raises:
        ImportError: supervision is not installed.
        ValueError: a phrase is not among ``classes``.
    """
    try:
        import supervision
    except ImportError as error:
        raise ImportError(
            "to_supervision needs the package supervision: uv sync --extra supervision, or pip install supervision"
        ) from error
    if not spans:
        return supervision.Detections.empty()
    masks, ids = np.stack([span.mask for span in spans]), _ClassIds(classes)
    return supervision.Detections(
        xyxy=mask_boxes(masks),
        mask=masks,
        confidence=np.array([span.score for span in spans], np.float32),
        class_id=np.array([ids.of(span.phrase) for span in spans]),
        data={"class_name": np.array([span.phrase or UNNAMED for span in spans])},
    )


class _ClassIds:
    """The index of each phrase, from 0."""

    def __init__(self, classes: Sequence[str] | None) -> None:
        self.names, self.is_fixed = list(classes or ()), classes is not None

    def of(self, phrase: str) -> int:
        name = phrase or UNNAMED
        if name not in self.names:
            if self.is_fixed:
                raise ValueError(f"no class is called {name!r}; classes has {', '.join(map(repr, self.names))}")
            self.names.append(name)
        return self.names.index(name)
