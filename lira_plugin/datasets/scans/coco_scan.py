"""Scans of COCO files: instances, and what other formats read of them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from lira_plugin.datasets.annotation_files import CocoFile, id_of, parse_coco, read_annotations, unknown_id
from lira_plugin.datasets.coco_phrases import phrase_of
from lira_plugin.datasets.entries import CocoAnnotation, CocoImage
from lira_plugin.datasets.findings import TAKEN, BadRecord
from lira_plugin.datasets.scans.scan import ImageClaim, MaskClaim, Scan, Unit
from lira_plugin.datasets.scans.unread import check_unread
from lira_plugin.structures import ExifRule, FaultKind

SINGULAR = {"images": "image", "annotations": "annotation", "categories": "category"}


@dataclass
class ScannedCoco:
    """A COCO file of which the faulty entries are noted.

    Args:
        coco: its sound entries.
        positions: of the sound entries, by section and id.
        faulty_ids: ids, by section, that faulty entries state.
        untold: counts, by section, of faulty entries whose id cannot be told.
    """

    coco: CocoFile
    positions: dict[str, dict[Any, int]]
    faulty_ids: dict[str, set[Any]]
    untold: dict[str, int]

    def is_faulty(self, section: str, entry_id: Any) -> bool:
        """Whether an unknown id is that of a faulty entry, or may be: then what names it is no further fault."""
        if entry_id not in self.faulty_ids[section] and self.untold[section]:
            self.untold[section] -= 1
            self.faulty_ids[section].add(entry_id)
        return entry_id in self.faulty_ids[section]

    def unit(self, section: str, entry_id: Any) -> Unit:
        """Where a sound entry stands."""
        return (section, self.positions[section][entry_id])


def scan_coco(
    scan: Scan, path: str, image: type[CocoImage] = CocoImage, annotation: type[CocoAnnotation] = CocoAnnotation
) -> ScannedCoco:
    """Read a COCO file and note its faulty entries.

    Raises:
        ValueError: the file as a whole cannot be read.
    """
    content = read_annotations(path)
    coco = parse_coco(path, content, image, annotation)
    scan.files.append(path)
    faulty: dict[str, dict[int, Any]] = {section: {} for section in SINGULAR}
    faults: dict[tuple[str, int], tuple[str, Any]] = {}
    for fault in coco.faults:
        value = content[fault.section][fault.position]
        faulty[fault.section][fault.position] = value
        name = f"{SINGULAR[fault.section]} {id_of(value, f'at position {fault.position}', 'id')}"
        if fault.section != "categories" and fault.image_id is not None:
            scan.owners[name].add(str(fault.image_id))
        faults[fault.section, fault.position] = name, fault
    positions: dict[str, dict[Any, int]] = {}
    for section in SINGULAR:
        own = positions[section] = {}
        for position, value in enumerate(content.get(section) or ()):
            if position not in faulty[section]:
                own.setdefault(value["id"], position)
    known, untold = {}, {}
    for section, entries in faulty.items():
        ids = (value.get("id") for value in entries.values() if isinstance(value, dict))
        told = [entry_id for entry_id in ids if isinstance(entry_id, int | str) and not isinstance(entry_id, bool)]
        known[section] = set(told) - positions[section].keys()
        untold[section] = len(entries) - len(told)
    found = ScannedCoco(coco, positions, known, untold)
    for (section, position), (name, fault) in faults.items():
        is_consequence = fault.error.kind is FaultKind.UNKNOWN_ID and found.is_faulty("images", fault.image_id)
        if not is_consequence:
            scan.bad(name, path, (section, position), fault.error)
    check_unread(scan, path, _entries(content))
    return found


def _entries(content: dict[str, Any]) -> Iterator[tuple[str, Unit, Any]]:
    for section, name in SINGULAR.items():
        for position, value in enumerate(content.get(section) or ()):
            yield f"{name} {id_of(value, f'at position {position}', 'id')}", (section, position), value
    for section in content.keys() - SINGULAR.keys():
        yield f"section {section}", (section,), content[section]


def claim_image(
    scan: Scan, found: ScannedCoco, image_id: Any, image_root: str, exif: ExifRule, owners: set[str]
) -> ImageClaim:
    """Have the image of an entry looked at."""
    image, name = found.coco.images[image_id], f"image {image_id}"
    path = os.path.join(image_root, image.file_name)
    claim = ImageClaim(name, found.coco.path, found.unit("images", image_id), path, (image.height, image.width), exif)
    scan.owners[name] |= owners
    scan.images.append(claim)
    return claim


def claim_mask(scan: Scan, found: ScannedCoco, annotation: CocoAnnotation, claim: ImageClaim) -> None:
    """Have the mask of an annotation looked at."""
    name = f"annotation {annotation.id}"
    scan.owners[name] |= scan.owners[claim.record]
    unit = found.unit("annotations", annotation.id)
    claim.masks.append(MaskClaim(name, found.coco.path, unit, (annotation.segmentation,)))


def check_category(scan: Scan, found: ScannedCoco, annotation: CocoAnnotation) -> None:
    """Note an unknown category of an annotation whose category no reader uses."""
    known, category_id = found.coco.categories, annotation.category_id
    if category_id is None or category_id in known or found.is_faulty("categories", category_id):
        return
    error = unknown_id("category", category_id, known, "the file's categories")
    unit = found.unit("annotations", annotation.id)
    scan.add(error.kind, f"annotation {annotation.id}", found.coco.path, unit, str(error), TAKEN)


def scan_instances(scan: Scan, settings: Any) -> None:
    """Scan the file of a :class:`~lira_plugin.datasets.CocoInstanceDataset` or a reader that is built on it."""
    found = scan_coco(scan, settings.ann_file)
    coco, path = found.coco, found.coco.path
    for category in coco.categories.values():
        scan.check_words(category.name, f"category {category.id}", path, found.unit("categories", category.id))
    indices = {category_id: index for index, category_id in enumerate(sorted(coco.categories))}
    is_per_phrase = getattr(settings, "num_expressions", 1) is None
    phrases = _records_of_phrases(coco, indices) if is_per_phrase else {}
    claims: dict[Any, ImageClaim] = {}
    for image_id in coco.images:
        owners = {str(image_id), *phrases.get(image_id, ())}
        claims[image_id] = claim_image(scan, found, image_id, settings.image_root, settings.exif, owners)
        scan.units[str(image_id), ""] = (f"image {image_id}", path, found.unit("images", image_id))
    for annotation in coco.annotations.values():
        name, unit = f"annotation {annotation.id}", found.unit("annotations", annotation.id)
        if annotation.image_id not in claims:
            continue
        if annotation.iscrowd:
            check_category(scan, found, annotation)
            continue
        scan.owners[name].add(str(annotation.image_id))
        if annotation.segmentation is msgspec.UNSET:
            what = "it has no 'segmentation'; boxes alone do not serve"
            scan.add(FaultKind.SEG_MASK_MISMATCH, name, path, unit, what)
            continue
        if annotation.category_id not in coco.categories:
            if not found.is_faulty("categories", annotation.category_id):
                error: BadRecord = unknown_id(
                    "category", annotation.category_id, coco.categories, "the file's categories"
                )
                scan.bad(name, path, unit, error)
            continue
        category = coco.categories[annotation.category_id].name
        record = str(annotation.image_id)
        if (names := getattr(settings, "names", None)) is not None:
            category = phrase_of(category, names)
        if is_per_phrase:
            record = f"{record}-{indices[annotation.category_id]}"
        scan.units.setdefault((record, category), (name, path, unit))
        claim_mask(scan, found, annotation, claims[annotation.image_id])


def _records_of_phrases(coco: CocoFile, indices: dict[Any, int]) -> dict[Any, set[str]]:
    """Ids of the records of each image where every phrase of it is a record of its own."""
    records: dict[Any, set[str]] = {}
    for annotation in coco.annotations.values():
        index = indices.get(annotation.category_id, annotation.category_id)
        records.setdefault(annotation.image_id, set()).add(f"{annotation.image_id}-{index}")
    return records
