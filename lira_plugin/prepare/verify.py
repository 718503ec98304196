"""Comparing what is on the disk with what is known of the official releases."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import msgspec

from lira_plugin.prepare.mix import Watch, remarks_of
from lira_plugin.prepare.official_entries import ConversionNotes, Record
from lira_plugin.prepare.official_sets import COCO_IMAGES, MissingFiles, OfficialSet
from lira_plugin.prepare.region_sets import RegionSet
from lira_plugin.prepare.sampling import draw_records

MISSING, COUNT, BAD_RECORD, NO_IMAGE = "missing", "count", "bad record", "no image"
"""Kinds of what is wrong."""


@dataclass(frozen=True)
class Difference:
    """Something that is not as in the official release.

    Args:
        kind: one of the kinds above.
        source: name of the set, or the folder.
        message: what is wrong, with the value and the way out.
    """

    kind: str
    source: str
    message: str


@dataclass(frozen=True)
class VerifiedSet:
    """What a set holds.

    Args:
        name, title: of the set.
        records: that it has for training; None where it is not there.
        images_checked: image files that were looked for.
        agreed: what was compared with the official release and is the same.
        remarks: what was left out, and why.
        differences: what is wrong.
    """

    name: str
    title: str
    records: int | None
    images_checked: int
    agreed: tuple[str, ...]
    remarks: tuple[str, ...]
    differences: tuple[Difference, ...]


def verify_set(
    known: OfficialSet,
    root: Path,
    images: int | None = 200,
    watch: Watch = lambda records, title: records,
) -> VerifiedSet:
    """Read all records of a set, compare its counts, and look for image files.

    Args:
        known: the set.
        root: folder of the official files.
        images: how many records are drawn to look for their images; None looks for all.
        watch: wraps the records to show progress.
    """
    try:
        found = known.find(root)
    except MissingFiles as error:
        return _missing(known, error)
    notes = ConversionNotes()
    looked = _Looked(root)
    try:
        records = watch(known.convert(found, notes), known.title)
        if images is None:
            count = sum(1 for _ in looked.at_all(records))
        else:
            sample = draw_records(records, images, 0, known.name)
            count = sample.found
            list(looked.at_all(map(msgspec.json.decode, sample.lines)))
    except ValueError as error:
        return _unreadable(known, error)
    agreed, differences = _compare_counts(known, notes.counts)
    differences += [Difference(BAD_RECORD, known.name, message) for message in notes.bad]
    differences += [
        Difference(NO_IMAGE, known.name, f"there is no {path}; unpack the images of {known.address}")
        for path in looked.missing
    ]
    return VerifiedSet(
        known.name, known.title, count, looked.count, tuple(agreed), remarks_of(notes), tuple(differences)
    )


def verify_region_set(known: RegionSet, data_root: Path) -> VerifiedSet:
    """Compare the counts of a referring or caption set; its records are what ``tools/check_data.py`` reads.

    Args:
        known: the set.
        data_root: folder that recipes read (``LIRA_DATA``).
    """
    try:
        counts = known.counts(known.find(data_root))
    except MissingFiles as error:
        return _missing(known, error)
    except (ValueError, UnpicklingError) as error:
        return _unreadable(known, error)
    agreed, differences = _compare_counts(known, counts)
    return VerifiedSet(known.name, known.title, counts["records"], 0, tuple(agreed), (), tuple(differences))


def _missing(known: OfficialSet | RegionSet, error: MissingFiles) -> VerifiedSet:
    differences = tuple(
        Difference(MISSING, known.name, f"there is no {path}; get it at {known.address}") for path in error.paths
    )
    return VerifiedSet(known.name, known.title, None, 0, (), (), differences)


def _unreadable(known: OfficialSet | RegionSet, error: Exception) -> VerifiedSet:
    difference = Difference(BAD_RECORD, known.name, str(error))
    return VerifiedSet(known.name, known.title, None, 0, (), (), (difference,))


def _compare_counts(known: OfficialSet | RegionSet, counts: Mapping[str, int]) -> tuple[list[str], list[Difference]]:
    agreed, differences = [], []
    for release in known.known:
        count = counts.get(release.what, 0)
        what = f"{release.count:,} {release.what} ({release.source})"
        if count == release.count:
            agreed.append(what)
        else:
            message = f"{count:,} {release.what}, but the official release has {what}; get it again at {known.address}"
            differences.append(Difference(COUNT, known.name, message))
    return agreed, differences


def verify_coco_images(root: Path) -> tuple[list[str], list[Difference]]:
    """Count the images of COCO's folders that are there: what agrees with the official release, and what does not."""
    agreed, differences = [], []
    for folder, release in COCO_IMAGES.items():
        if not (root / folder).is_dir():
            continue
        count = sum(1 for path in (root / folder).iterdir() if path.suffix == ".jpg")
        what = f"{release.count:,} {release.what} ({release.source})"
        if count == release.count:
            agreed.append(f"{folder}: {what}")
        else:
            differences.append(
                Difference(
                    COUNT, folder, f"{root / folder} holds {count:,} images, but the official release has {what}"
                )
            )
    return agreed, differences


class _Looked:
    """Looks for image files, each once."""

    def __init__(self, root: Path) -> None:
        self._root, self._seen = root, set()
        self.missing: list[Path] = []

    @property
    def count(self) -> int:
        return len(self._seen)

    def at_all(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            image = record.get("image")
            if image is not None and image not in self._seen:
                self._seen.add(image)
                if not (self._root / image).is_file():
                    self.missing.append(self._root / image)
            yield record
