"""Annotation files: reading them, and COCO's images, annotations and categories by id, which several readers share."""

import os
from dataclasses import dataclass
from typing import Any

from lira_plugin.datasets.safe_pickle import safe_load
from lira_plugin.json_file import read_json


def read_annotations(path: str | os.PathLike) -> Any:
    """Read a file of annotations: a pickle of plain data where its name ends in ``.p``, else JSON.

    Raises:
        FileNotFoundError: there is no such file; the message says where the recipes' come from.
        pickle.UnpicklingError: the pickle wants more than plain data.
        ValueError: the file cannot be read.
    """
    try:
        return safe_load(path) if str(path).endswith(".p") else read_json(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no annotation file {path}. docs/weights.md says where the data of the recipes are had; those of the tiny recipes "
            "are written by\n    python tools/make_scenes.py work_dirs/tiny/data"
        ) from None


@dataclass(frozen=True)
class CocoFile:
    """A COCO file by id.

    Args:
        path: where it came from, for messages.
        images: ``{id, file_name, height, width, ...}`` by id, in file order.
        annotations: ``{id, image_id, ...}`` by id, in file order.
        categories: ``{id, name, ...}`` by id, in file order; empty where the file has none.
    """

    path: str
    images: dict[Any, dict[str, Any]]
    annotations: dict[Any, dict[str, Any]]
    categories: dict[Any, dict[str, Any]]

    def annotations_by_image(self) -> dict[Any, list[dict[str, Any]]]:
        """The annotations of every image, also of those without any, in file order.

        Raises:
            ValueError: an annotation names an image that the file does not hold.
        """
        grouped: dict[Any, list[dict[str, Any]]] = {image_id: [] for image_id in self.images}
        for annotation in self.annotations.values():
            if annotation["image_id"] not in grouped:
                raise ValueError(
                    f"{self.path}: annotation {annotation['id']} names image {annotation['image_id']}, which is not "
                    "among the images of the file; add the image or remove the annotation"
                )
            grouped[annotation["image_id"]].append(annotation)
        return grouped


def load_coco(path: str | os.PathLike) -> CocoFile:
    """Read a COCO file: ``{"images": [...], "annotations": [...], "categories": [...]}``, the last of them optional.

    Raises:
        ValueError: the file is not of this form, an entry lacks a key that COCO demands, or an id occurs twice.
    """
    content = read_annotations(path)
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        raise ValueError(f"{path} is not a COCO file: it must be an object with the keys 'images' and 'annotations'")
    return CocoFile(
        path=str(path),
        images=_by_id(path, content, "images", ("id", "file_name", "height", "width")),
        annotations=_by_id(path, content, "annotations", ("id", "image_id")),
        categories=_by_id(path, content, "categories", ("id", "name")),
    )


def _by_id(path: str | os.PathLike, content: dict, section: str, keys: tuple[str, ...]) -> dict[Any, dict[str, Any]]:
    entries = {}
    for position, entry in enumerate(content.get(section, ())):
        missing = [key for key in keys if key not in entry]
        if missing:
            raise ValueError(f"{path}: entry {position} of '{section}' (id {entry.get('id')}) lacks {missing}")
        if entry["id"] in entries:
            raise ValueError(f"{path}: id {entry['id']} occurs twice in '{section}'; ids must be unique")
        entries[entry["id"]] = entry
    return entries
