"""What has to leave an annotation file with what is left out of it: refs of a broken mask, records without a phrase."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from lira_plugin.datasets.coco_phrases import NameRule, phrase_of
from lira_plugin.datasets.findings import Finding

Units = dict[tuple[str | int, ...], Finding]
"""What leaves a file, as keys and indices, with the reason."""


def follow_targets(content: Any, units: Units, target_of: Callable[[dict], Any]) -> None:
    """Annotations of one target with one that leaves, as what is left of a target would be learnt as the whole of it.

    Args:
        content: of a COCO file.
        units: what leaves.
        target_of: gives what tells the targets of annotations apart; None for those that belong to none.
    """
    kept = {
        _id(one.get("id")): one
        for position, one in _entries(content["annotations"])
        if ("annotations", position) not in units
    }
    gone: dict[Any, Finding] = {}
    for position, annotation in _entries(content["annotations"]):
        cause = units.get(("annotations", position))
        is_copy = kept.get(_id(annotation.get("id"))) == annotation
        if cause is not None and not is_copy and (target := target_of(annotation)) is not None:
            gone.setdefault(target, cause)
    for position, annotation in _entries(content["annotations"]):
        unit, cause = ("annotations", position), gone.get(target_of(annotation)) if gone else None
        if cause is not None and unit not in units:
            units[unit] = because(cause, f"annotation {annotation.get('id')}", unit, cause.file)


def follow_whole_images(content: Any, units: Units) -> None:
    """Images of which an instance leaves: their answer names every instance, so that it would be false without one."""
    gone: dict[Any, Finding] = {}

    def image_of(annotation: dict) -> Any:
        return None if annotation.get("iscrowd") in (1, True) else _id(annotation.get("image_id"))

    follow_targets(content, units, image_of)
    for position, annotation in _entries(content["annotations"]):
        cause = units.get(("annotations", position))
        if cause is not None:
            gone.setdefault(image_of(annotation), cause)
    whole = {image_of(one) for position, one in _entries(content["annotations"])
             if ("annotations", position) not in units}  # fmt: skip
    for position, image in _entries(content["images"]):
        unit, image_id = ("images", position), _id(image.get("id"))
        cause = None if image_id is None or image_id in whole else gone.get(image_id)
        if cause is not None and unit not in units:
            units[unit] = because(cause, f"image {image_id}", unit, cause.file)


def follow_phrases(content: Any, units: Units, names: NameRule) -> None:
    """Annotations that are one target with one that leaves: those of one phrase in an image."""
    phrases = {
        _id(category.get("id")): phrase_of(category["name"], names)
        for _, category in _entries(content.get("categories") or ())
        if isinstance(category.get("name"), str)
    }

    def target_of(annotation: dict) -> Any:
        image_id, phrase = _id(annotation.get("image_id")), phrases.get(_id(annotation.get("category_id")))
        is_target = image_id is not None and phrase is not None and annotation.get("iscrowd") not in (1, True)
        return (image_id, phrase) if is_target else None

    follow_targets(content, units, target_of)


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
    """Annotations of images and targets that leave, and images of which all annotations leave."""
    follow_targets(content, units, _flickr_target)
    follow_coco(content, units)
    gone: dict[Any, list[Finding | None]] = {}
    for position, annotation in _entries(content["annotations"]):
        gone.setdefault(_id(annotation.get("image_id")), []).append(units.get(("annotations", position)))
    for position, image in _entries(content["images"]):
        causes, unit = gone.get(_id(image.get("id")), []), ("images", position)
        if causes and None not in causes and unit not in units:
            units[unit] = because(causes[0], f"image {image.get('id')}", unit, causes[0].file)


def _flickr_target(annotation: dict) -> Any:
    """Image and span of an annotation with a mask: those of one span are one target."""
    spans, image_id = annotation.get("tokens_positive"), _id(annotation.get("image_id"))
    has_target = isinstance(spans, list) and spans and image_id is not None and annotation.get("sam_mask")
    return (image_id, str(spans[0])) if has_target else None


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
