"""What has to leave an annotation file with what is left out of it: refs of a broken mask, records without a phrase."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from lira_plugin.datasets.findings import Finding

Units = dict[tuple[str | int, ...], Finding]
"""What leaves a file, as keys and indices, with the reason."""


def follow_coco(content: Any, units: Units) -> None:
    """Annotations of images and categories that leave."""
    for section, key in (("images", "image_id"), ("categories", "category_id")):
        gone = gone_ids(content.get(section) or (), section, units)
        for position, annotation in _entries(content["annotations"]):
            unit, cause = ("annotations", position), gone.get(_id(annotation.get(key)))
            if cause is not None and unit not in units:
                units[unit] = because(cause, f"annotation {annotation.get('id')}", unit, cause.file)


def follow_refs(refs: Any, units: Units, instances: Any, instance_units: Units, path: str) -> None:
    """Refs of images and annotations that leave, and those of which all sentences leave."""
    images = gone_ids(instances["images"], "images", instance_units)
    annotations = gone_ids(instances["annotations"], "annotations", instance_units)
    for position, ref in _entries(refs):
        named = ref.get("ann_id")
        causes = [images.get(_id(ref.get("image_id")))]
        causes += [annotations.get(_id(one)) for one in (named if isinstance(named, list | tuple) else [named])]
        cause = next((found for found in causes if found is not None), None) or _all_gone(
            ref.get("sentences"), (position, "sentences"), units
        )
        if cause is not None and (position,) not in units:
            units[position,] = because(cause, f"ref {ref.get('ref_id')}", (position,), path)


def follow_grandf(content: Any, units: Units) -> None:
    """Captions of which all phrases leave."""
    for position, record in _entries(content):
        _follow_phrases(
            record.get("groundings"), str(record.get("image_id", position)), (position, "groundings"), units
        )


def follow_refcocog(content: Any, units: Units) -> None:
    """Captions of which all phrases leave."""
    for position, record in _entries(content):
        for record_id, inner in record.items():
            if isinstance(inner, dict):
                _follow_phrases(inner.get("refs"), record_id, (position, record_id, "refs"), units)


def follow_flickr(content: Any, units: Units) -> None:
    """Annotations of images that leave, and images of which all annotations leave."""
    follow_coco(content, units)
    gone: dict[Any, list[Finding | None]] = {}
    for position, annotation in _entries(content["annotations"]):
        gone.setdefault(_id(annotation.get("image_id")), []).append(units.get(("annotations", position)))
    for position, image in _entries(content["images"]):
        causes, unit = gone.get(_id(image.get("id")), []), ("images", position)
        if causes and None not in causes and unit not in units:
            units[unit] = because(causes[0], f"image {image.get('id')}", unit, causes[0].file)


def follow_reason(content: Any, units: Units) -> None:
    """The file of which all questions leave."""
    cause = _all_gone(content.get("text"), ("text",), units) if isinstance(content, dict) else None
    if cause is not None and () not in units:
        units[()] = because(cause, cause.record, (), cause.file)


def gone_ids(entries: Any, section: str, units: Units) -> dict[Any, Finding]:
    """Ids of the entries that leave a section, if no other entry with the id stays, with the reason."""
    gone, kept = {}, set()
    for position, entry in _entries(entries):
        cause = units.get((section, position))
        if cause is None:
            kept.add(_id(entry.get("id")))
        else:
            gone.setdefault(_id(entry.get("id")), cause)
    return {entry_id: cause for entry_id, cause in gone.items() if entry_id is not None and entry_id not in kept}


def because(cause: Finding, record: str, unit: tuple[str | int, ...], file: str) -> Finding:
    """That something leaves because of something else."""
    return replace(
        cause, record=record, unit=unit, file=file, message=f"{file}: {record}: left out with {cause.message}"
    )


def _follow_phrases(phrases: Any, record: str, where: tuple[str | int, ...], units: Units) -> None:
    cause, unit = _all_gone(phrases, where, units), where[:1]
    if cause is not None and unit not in units:
        units[unit] = because(cause, record, unit, cause.file)


def _all_gone(parts: Any, where: tuple[str | int, ...], units: Units) -> Finding | None:
    """The reason why the first of the parts leaves, if all do."""
    if not parts or not isinstance(parts, dict | list | tuple):
        return None
    causes = [units.get((*where, key)) for key in (parts if isinstance(parts, dict) else range(len(parts)))]
    return None if None in causes else causes[0]


def _entries(values: Any) -> Iterator[tuple[int, dict]]:
    return ((position, value) for position, value in enumerate(values) if isinstance(value, dict))


def _id(value: Any) -> Any:
    return value if isinstance(value, int | str) else None


FOLLOW: dict[str, Callable[[Any, Units], None]] = {
    "coco": follow_coco,
    "grandf": follow_grandf,
    "refcocog": follow_refcocog,
    "flickr": follow_flickr,
    "reason": follow_reason,
}
"""By the kind of a file; refs need their instances as well."""
