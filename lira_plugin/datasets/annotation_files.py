"""Annotation files: reading them, and COCO's images, annotations and categories by id, which several readers share."""

import gc
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from lira_plugin.datasets.entries import CocoAnnotation, CocoCategory, CocoImage, to_entry
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.json_records import read_json_records
from lira_plugin.datasets.safe_pickle import safe_load
from lira_plugin.structures import FaultKind, shown

_SINGULAR = {"images": "image", "annotations": "annotation", "categories": "category"}
Image = TypeVar("Image")
Annotation = TypeVar("Annotation")


def read_annotations(path: str | os.PathLike) -> Any:
    """Read a file of annotations: a pickle of plain data where its name ends in ``.p``, else JSON.

    Raises:
        FileNotFoundError: there is no such file; the message says where the recipes' come from.
        pickle.UnpicklingError: the pickle wants more than plain data.
        ValueError: the file cannot be read.
    """
    collecting = gc.isenabled()
    gc.disable()  # a file makes millions of objects, none of them garbage: to look through them takes three quarters of the time
    try:
        return safe_load(path) if str(path).endswith(".p") else read_json_records(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no annotation file {path} (docs/troubleshooting.md#no-annotation-file). docs/weights.md says where the "
            "data of the recipes are had, and docs/own_data.md how "
            "your own are laid out (LIRA_OWN_DATA); those of the tiny recipes are written by\n"
            "    python tools/make_scenes.py work_dirs/tiny/data"
        ) from None
    finally:
        if collecting:
            gc.enable()


def read_list(path: str | os.PathLike, name: str) -> list[Any]:
    """Read a file that holds a list of records; ``name`` says in messages what file it should be.

    Raises:
        ValueError: it holds something else, or nothing; and as :func:`read_annotations`.
    """
    content = read_annotations(path)
    if not isinstance(content, list) or not content:
        raise ValueError(
            f"{path} is not {name}: it must hold a list of records, and at least one, got {shown(content)}"
        )
    return content


def id_of(record: Any, position: int, *keys: str) -> str:
    """What a record, sound or not, is called in messages: the first of the ``keys`` that is an id, else its position."""
    if isinstance(record, dict):
        for key in keys:
            value = record.get(key)
            if isinstance(value, int | str) and not isinstance(value, bool):
                return str(value) if str(value).isprintable() and len(str(value)) <= 80 else shown(value)
    return str(position)


@dataclass(frozen=True)
class EntryFault:
    """An entry of a COCO file that cannot be used.

    Args:
        where: what it is, with its section and position.
        image_id: of the image that it spoils, None where that cannot be told.
        error: what is wrong with it.
        section, position: where it stands in the file.
    """

    where: str
    image_id: Any
    error: BadRecord
    section: str = ""
    position: int = 0


@dataclass(frozen=True)
class CocoFile(Generic[Image, Annotation]):
    """The sound entries of a COCO file by id, in file order, and what is wrong with the others.

    Args:
        path: where it came from, for messages.
        images: by id.
        annotations: by id; their images are among ``images``, unless these are not sound.
        categories: by id; empty where the file has none.
        faults: one for each entry that is not sound.
    """

    path: str
    images: dict[Any, Image]
    annotations: dict[Any, Annotation]
    categories: dict[Any, CocoCategory]
    faults: list[EntryFault] = field(default_factory=list)

    def annotations_by_image(self) -> dict[Any, list[Annotation]]:
        """The annotations of every image that no fault spoils, also of those without any, in file order."""
        spoilt = {fault.image_id for fault in self.faults}
        grouped: dict[Any, list[Annotation]] = {image_id: [] for image_id in self.images if image_id not in spoilt}
        for annotation in self.annotations.values():
            if annotation.image_id in grouped:
                grouped[annotation.image_id].append(annotation)
        return grouped


def load_coco(
    path: str | os.PathLike, image: type[Image] = CocoImage, annotation: type[Annotation] = CocoAnnotation
) -> CocoFile[Image, Annotation]:
    """Read a COCO file: ``{"images": [...], "annotations": [...], "categories": [...]}``, the last of them optional.

    Args:
        path: of the file.
        image, annotation: schemas of the entries.

    Raises:
        ValueError: the file is not of this form. What is wrong with single entries is in ``faults``.
    """
    return parse_coco(path, read_annotations(path), image, annotation)


def parse_coco(
    path: str | os.PathLike, content: Any, image: type[Image] = CocoImage, annotation: type[Annotation] = CocoAnnotation
) -> CocoFile[Image, Annotation]:
    """Check what was read from a COCO file; as :func:`load_coco`, with its content."""
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        raise ValueError(
            f"{path} is not a COCO file: it must be an object with the keys 'images' and 'annotations', got {shown(content)}"
        )
    faults: list[EntryFault] = []
    images = _by_id(path, content, "images", image, faults)
    spoilt = {fault.image_id for fault in faults}

    def names_an_image(entry: Annotation) -> None:
        if entry.image_id not in images and entry.image_id not in spoilt:
            raise unknown_id("image", entry.image_id, images, "the images of the file")

    annotations = _by_id(path, content, "annotations", annotation, faults, names_an_image)
    return CocoFile(str(path), images, annotations, _by_id(path, content, "categories", CocoCategory, faults), faults)


def unknown_id(kind: str, value: Any, known: Collection[Any], among: str, way_out: str = "") -> BadRecord:
    """The error of an id that is not among the ``known`` ones; it says so where one differs in its type alone."""
    twin = next((twin for twin in _twins(value) if twin in known), None)
    if twin is not None:
        way_out = f"{among} hold {twin!r}: write the id as there"
    way_out = way_out or f"add the {kind}, or remove what names it"
    return BadRecord(f"it names {kind} {shown(value)}, which is not among {among}", way_out, FaultKind.UNKNOWN_ID)


def _twins(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [int(value)] if value.isascii() and value.isdigit() and len(value) < 20 else []
    return [str(value)]


def _by_id(
    path: str | os.PathLike,
    content: dict,
    section: str,
    kind: type,
    faults: list[EntryFault],
    check: Callable[[Any], None] = lambda entry: None,
) -> dict[Any, Any]:
    """The sound entries of a section by id; what is wrong with the others goes to ``faults``."""
    values = content.get(section, [])
    if not isinstance(values, list | tuple):
        raise ValueError(f"{path}: {section!r} must be a list of objects, got {shown(values)}; repair the file")
    entries: dict[Any, Any] = {}
    first: Any = None
    for position, value in enumerate(values):
        try:
            entry = to_entry(value, kind)
            first = entry.id if first is None else first
            if type(entry.id) is not type(first):
                raise BadRecord(
                    f"the ids of {section!r} are whole numbers and texts mixed", f"{first!r} and {entry.id!r}"
                )
            if entry.id in entries:
                raise BadRecord(
                    f"its id occurs twice in {section!r}, so that its image cannot be used; ids must be unique",
                    repr(entry.id),
                    FaultKind.DUPLICATE_ID,
                )
            check(entry)
            entries[entry.id] = entry
        except BadRecord as error:
            where = f"{_SINGULAR[section]} {id_of(value, position, 'id')} (position {position} of {section!r})"
            faults.append(EntryFault(where, _image_of(value, section), error, section, position))
    return entries


def _image_of(value: Any, section: str) -> Any:
    """The id of the image that an entry, sound or not, is of; None where that cannot be told."""
    key = {"images": "id", "annotations": "image_id"}.get(section)
    found = value.get(key) if isinstance(value, dict) and key else None
    is_id = isinstance(found, int) or (isinstance(found, str) and found.isprintable())
    return found if is_id and not isinstance(found, bool) else None
