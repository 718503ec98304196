"""Ground truth of grounded captions: GLaMM's pair of COCO files for a split of GranDf."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lira_plugin.json_file import read_json
from lira_plugin.structures.shown import shown


@dataclass(frozen=True)
class GCGTruth:
    """What is true of one image.

    Args:
        name: file and image, for messages.
        image_id: its id, which the file of a prediction is named after.
        file_name: of the image.
        size: (height, width), None where the files do not say.
        captions: its true captions; of several, the first has the phrases.
        phrases: of the caption; as a rule the i-th names the i-th mask.
        segmentations: its masks, each in any COCO form, in the order of the file.
        annotation_ids: of the masks.
        is_crowd: of each mask; COCO's average precision leaves crowds out.
        is_described: whether the file of captions lists the image. Others count in COCO's average precision alone.
    """

    name: str
    image_id: str
    file_name: str
    size: tuple[int, int] | None
    captions: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    segmentations: tuple[Any, ...] = ()
    annotation_ids: tuple[int, ...] = ()
    is_crowd: tuple[bool, ...] = ()
    is_described: bool = True


def gcg_truth_files(folder: str | os.PathLike, split: str) -> tuple[Path, Path]:
    """The files of masks and of captions of a split."""
    return Path(folder, f"{split}_gcg_coco_mask_gt.json"), Path(folder, f"{split}_gcg_coco_caption_gt.json")


def read_gcg_truth(folder: str | os.PathLike, split: str) -> dict[str, GCGTruth]:
    """Read the ground truth of a split, by image id.

    The images are in the ascending order of their ids, as COCO's evaluation takes them: among detections of equal scores, those
    of earlier images come first.

    Args:
        folder: holds ``<split>_gcg_coco_mask_gt.json`` and ``<split>_gcg_coco_caption_gt.json``.
        split: ``val`` or ``test`` in GranDf.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is not of this layout; the message names the file, the entry and the value.
    """
    mask_file, caption_file = gcg_truth_files(folder, split)
    for path in (mask_file, caption_file):
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no {path}; the ground truth of grounded captions is a folder with {mask_file.name} and "
                f"{caption_file.name}, as GLaMM publishes them"
            )
    masks, captions = _CocoPair.read(mask_file), _CocoPair.read(caption_file)
    truths = {}
    images = masks.images | captions.images
    for key in sorted(images, key=lambda key: (isinstance(images[key]["id"], str), images[key]["id"])):
        image = captions.images.get(key, {}) | masks.images.get(key, {})
        own, said = masks.annotations.get(key, []), captions.annotations.get(key, [])
        truths[key] = GCGTruth(
            name=f"{mask_file} image {image['id']!r}",
            image_id=key,
            file_name=image.get("file_name") or f"{key}.jpg",
            size=_size(mask_file, image),
            captions=tuple(_text(caption_file, entry, "caption") for entry in said),
            phrases=tuple(_phrases(caption_file, said[0])) if said else (),
            segmentations=tuple(_value(mask_file, entry, "segmentation") for entry in own),
            annotation_ids=tuple(_whole(mask_file, entry, "id") for entry in own),
            is_crowd=tuple(bool(entry.get("iscrowd", 0)) for entry in own),
            is_described=key in captions.images,
        )
    if not truths:
        raise ValueError(f"{mask_file} and {caption_file} list no image")
    return truths


@dataclass(frozen=True)
class _CocoPair:
    """Images by id, and lists of annotations by image id; ids are texts here."""

    images: dict[str, dict[str, Any]]
    annotations: dict[str, list[dict[str, Any]]]

    @classmethod
    def read(cls, path: Path) -> "_CocoPair":
        content = read_json(path)
        if not isinstance(content, dict) or not all(
            isinstance(content.get(part), list) and all(isinstance(entry, dict) for entry in content[part])
            for part in ("images", "annotations")
        ):
            raise ValueError(f"{path} is not a COCO file: it must hold the lists 'images' and 'annotations' of objects")
        images: dict[str, dict[str, Any]] = {}
        for entry in content["images"]:
            key = _id(path, entry, "id")
            if key in images:
                raise ValueError(f"{path}: image {key!r} occurs twice; ids must be unique")
            images[key] = entry
        annotations: dict[str, list[dict[str, Any]]] = {}
        for entry in content["annotations"]:
            key = _id(path, entry, "image_id")
            if key not in images:
                raise ValueError(
                    f"{path}: annotation {entry.get('id')!r} names image {key!r}, which is not among the images of the file; "
                    "add the image or remove the annotation"
                )
            annotations.setdefault(key, []).append(entry)
        return cls(images, annotations)


def _value(path: Path, entry: dict[str, Any], key: str) -> Any:
    if key not in entry:
        raise ValueError(f"{path}: annotation {entry.get('id')!r} of image {entry.get('image_id')!r} lacks {key!r}")
    return entry[key]


def _id(path: Path, entry: dict[str, Any], key: str) -> str:
    found = entry.get(key)
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise ValueError(f"{path}: {key!r} must be a text or a whole number, got {found!r} in {shown(entry)}")
    return str(found)


def _whole(path: Path, entry: dict[str, Any], key: str) -> int:
    found = _value(path, entry, key)
    if isinstance(found, bool) or not isinstance(found, int):
        raise ValueError(
            f"{path}: {key!r} of an annotation of image {entry['image_id']!r} must be whole, got {found!r}"
        )
    return found


def _text(path: Path, entry: dict[str, Any], key: str) -> str:
    found = _value(path, entry, key)
    if not isinstance(found, str):
        raise ValueError(f"{path}: {key!r} of annotation {entry.get('id')!r} must be a text, got {shown(found)}")
    return found


def _phrases(path: Path, entry: dict[str, Any]) -> list[str]:
    found = _value(path, entry, "labels")
    if not isinstance(found, list) or not all(isinstance(phrase, str) for phrase in found):
        raise ValueError(
            f"{path}: 'labels' of annotation {entry.get('id')!r} must be a list of texts, got {shown(found)}"
        )
    return found


def _size(path: Path, image: dict[str, Any]) -> tuple[int, int] | None:
    size: tuple[Any, Any] = (image.get("height"), image.get("width"))
    if size == (None, None):
        return None
    if not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in size):
        raise ValueError(
            f"{path}: image {image['id']!r} has height {size[0]!r} and width {size[1]!r}, not whole pixels"
        )
    return size
