"""Ground truth of instance segmentation: a COCO file, with all that COCO's evaluation reads of it."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from lira_plugin.json_file import read_json
from lira_plugin.structures import shown

Id = int | str
Entry = TypeVar("Entry")


class _Image(msgspec.Struct):
    id: Id
    height: int
    width: int


class _Category(msgspec.Struct):
    id: Id
    name: str


class _Annotation(msgspec.Struct):
    id: Id
    image_id: Id
    category_id: Id
    segmentation: Any
    area: int | float | None = None
    iscrowd: bool | int | None = 0


@dataclass(frozen=True)
class CocoTruth:
    """What is true of one image; the sequences have an entry for each of its annotations, in the order of the file.

    Args:
        name: file and image, for messages.
        image_id: as in the file.
        size: (height, width).
        categories: index of the category of each.
        segmentations: in any COCO form.
        areas: in pixels, as the file has them; None where it does not say.
        is_crowd: whether it is many objects at once, which need not be found.
    """

    name: str
    image_id: Id
    size: tuple[int, int]
    categories: tuple[int, ...] = ()
    segmentations: tuple[Any, ...] = ()
    areas: tuple[float | None, ...] = ()
    is_crowd: tuple[bool, ...] = ()


@dataclass(frozen=True)
class CocoGroundTruth:
    """A COCO file of instances.

    Args:
        path: of the file.
        images: by their ids as texts, in ascending order, in which COCO's evaluation counts detections of equal scores.
        category_ids: as in the file, ascending. An index of a category is one into these.
        category_names: in this order.
    """

    path: str
    images: Mapping[str, CocoTruth]
    category_ids: tuple[Id, ...]
    category_names: tuple[str, ...]

    def index_of_name(self) -> dict[str, int]:
        """Index of each category by its name, see :func:`normal_name`.

        Raises:
            ValueError: two categories have the same.
        """
        indices: dict[str, int] = {}
        for index, name in enumerate(self.category_names):
            first = indices.setdefault(normal_name(name), index)
            if first != index:
                raise ValueError(
                    f"{self.path}: the categories {self.category_names[first]!r} and {name!r} have the same name, so a phrase "
                    "cannot say which it means: rename one of them"
                )
        return indices


def normal_name(name: str) -> str:
    """A category's name, or a phrase that may be one, in lower case and with single spaces inside alone."""
    return " ".join(name.lower().split())


def read_coco_truth(path: str | os.PathLike) -> CocoGroundTruth:
    """Read a COCO file of instances.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not of this layout; the message names the file, the entry and what is wrong with it.
    """
    content = read_json(path)
    parts = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in parts):
        raise ValueError(
            f"{path} is not a COCO file of instances: it must be an object with the lists 'images', 'annotations' and "
            f"'categories', got {shown(content)}"
        )
    categories = _by_id(path, "category", _entries(path, "category", content["categories"], _Category))
    ids = tuple(sorted(categories, key=_order))
    indices = {category_id: index for index, category_id in enumerate(ids)}
    images = _by_id(path, "image", _entries(path, "image", content["images"], _Image))
    for image in images.values():
        if min(image.height, image.width) < 1:
            raise ValueError(f"{path}: image {image.id!r} is {image.height} x {image.width} pixels; state its size")
    annotations = _by_id(path, "annotation", _entries(path, "annotation", content["annotations"], _Annotation))
    owned: dict[Id, list[_Annotation]] = {image_id: [] for image_id in images}
    for entry in annotations.values():
        for kind, value, known in (("image", entry.image_id, images), ("category", entry.category_id, indices)):
            if value not in known:
                raise ValueError(
                    f"{path}: annotation {entry.id!r} names {kind} {value!r}, which the file does not have; add the {kind} or "
                    "remove the annotation"
                )
        if entry.area is not None and not abs(entry.area) <= sys.float_info.max:
            raise ValueError(
                f"{path}: annotation {entry.id!r} has the area {shown(entry.area)}; it must be a number of pixels"
            )
        owned[entry.image_id].append(entry)
    truths = {
        str(image_id): CocoTruth(
            name=f"{path} image {image_id!r}",
            image_id=image_id,
            size=(images[image_id].height, images[image_id].width),
            categories=tuple(indices[entry.category_id] for entry in owned[image_id]),
            segmentations=tuple(entry.segmentation for entry in owned[image_id]),
            areas=tuple(None if entry.area is None else float(entry.area) for entry in owned[image_id]),
            is_crowd=tuple(bool(entry.iscrowd) for entry in owned[image_id]),
        )
        for image_id in sorted(images, key=_order)
    }
    if not truths:
        raise ValueError(f"{path} lists no image")
    return CocoGroundTruth(str(path), truths, ids, tuple(categories[category_id].name for category_id in ids))


def _order(value: Id) -> tuple[bool, Id]:
    return isinstance(value, str), value


def _entries(path: str | os.PathLike, kind: str, values: Sequence[Any], schema: type[Entry]) -> list[Entry]:
    entries = []
    for position, value in enumerate(values):
        try:
            entries.append(msgspec.convert(value, schema))
        except msgspec.ValidationError as error:
            raise ValueError(f"{path}: {kind} at position {position}, {shown(value)}: {error}") from error
    return entries


def _by_id(path: str | os.PathLike, kind: str, entries: Sequence[Any]) -> dict[Id, Any]:
    """Entries by their ids, which must differ as texts too, since predictions may write ``1`` or ``"1"``."""
    found: dict[str, Any] = {}
    for entry in entries:
        first = found.setdefault(str(entry.id), entry)
        if first is not entry:
            same = "occurs twice" if first.id == entry.id else f"has the same id as {kind} {first.id!r}"
            raise ValueError(f"{path}: {kind} {entry.id!r} {same}; ids must be unique")
    return {entry.id: entry for entry in entries}
