"""What a scan of annotation files gives: faults with their position, and images and masks that are to be looked at."""

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from types import SimpleNamespace
from typing import Any

from lira_plugin.datasets.findings import LEFT_OUT, TAKEN, UNUSABLE, BadRecord, Finding
from lira_plugin.structures import ExifRule, FaultKind, shown

Unit = tuple[str | int, ...]
"""Keys and indices in a file to something that can be left out of it."""


@dataclass(frozen=True)
class MaskClaim:
    """The mask of something: the union of ``segmentations``."""

    record: str
    file: str
    unit: Unit
    segmentations: tuple[Any, ...]


@dataclass
class ImageClaim:
    """What one record says of an image file.

    Args:
        record, file, unit: who says it, and where.
        path: of the image.
        size: (height, width) that is annotated, or None.
        exif: how it is read.
        masks: masks on it.
        uses: files and units that use the image in this split, where that is not the unit itself.
    """

    record: str
    file: str
    unit: Unit
    path: str
    size: tuple[int, int] | None
    exif: ExifRule
    masks: list[MaskClaim] = field(default_factory=list)
    uses: list[tuple[str, Unit]] = field(default_factory=list)


@dataclass
class Scan:
    """One source, scanned.

    Args:
        source: data set and split.
        spelt: gives the special tokens that a text spells.
        skips: whether the reader leaves entries out that are not of their format.
        findings: what is wrong with the annotations.
        images: what is to be looked at.
        owners: the reader's records that an entry of the file belongs to, by the name of the entry.
        units: name, file and unit of a phrase or record of the reader, by (record id, phrase) or (record id, ""); of
            LLaVA's records that share an id by (record id, question and answer of a turn).
        files: all annotation files that the source reads.
    """

    source: str
    spelt: Callable[[str], list[str]]
    skips: bool = False
    findings: list[Finding] = field(default_factory=list)
    images: list[ImageClaim] = field(default_factory=list)
    owners: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    units: dict[tuple[str, str], tuple[str, str, Unit]] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_unit: dict[tuple[str, Unit], list[Finding]] = {}

    def add(self, kind: FaultKind, record: str, file: str, unit: Unit, what: str, effect: str = UNUSABLE) -> None:
        """Note a fault, once for each kind and unit."""
        where = f"{file}: {record}: {what}" if record else f"{file}: {what}"
        finding = Finding(kind, self.source, record, where, effect, file, unit)
        if not any((old.kind, old.unit) == (kind, unit) for old in self._of(file, unit)):
            self.findings.append(finding)
            self._of(file, unit).append(finding)

    def _of(self, file: str, unit: Unit) -> list[Finding]:
        return self._by_unit.setdefault((file, unit), [])

    def is_faulty(self, file: str, unit: Unit) -> bool:
        """Whether a fault of this unit, or of one that holds it, was noted."""
        return any(self._by_unit.get((file, unit[:length])) for length in range(1, len(unit) + 1))

    def bad(self, record: str, file: str, unit: Unit, error: BadRecord) -> None:
        """Note an entry that is not of its format."""
        self.add(error.kind, record, file, unit, str(error), LEFT_OUT if self.skips else UNUSABLE)

    def check_words(self, text: str, record: str, file: str, unit: Unit, is_learnt: bool = True) -> None:
        """Note a text that is blank or spells a special token."""
        if not text.strip():
            self.add(FaultKind.EMPTY_TEXT, record, file, unit, f"a text is blank: {text!r}", TAKEN)
        elif found := self.spelt(text):
            what = f"the text spells the special token {found[0]!r}: {shown(text)}; take it out"
            self.add(FaultKind.SPECIAL_TOKEN, record, file, unit, what, UNUSABLE if is_learnt else TAKEN)

    def check_id(self, seen: set[Any], value: Any, record: str, file: str, unit: Unit) -> bool:
        """Whether an id was not met before; note it if it was."""
        if value in seen:
            what = f"its id {shown(value)} occurs before; ids must be unique"
            self.add(FaultKind.DUPLICATE_ID, record, file, unit, what, TAKEN)
            return False
        seen.add(value)
        return True

    @property
    def touched(self) -> set[str]:
        """The reader's records that something was found wrong with."""
        names = (finding.record for finding in self.findings)
        return {owner for name in names for owner in self.owners.get(name, {name})}


def settings_of(kind: type, config: dict[str, Any]) -> SimpleNamespace:
    """The arguments that a config gives to a reader, with its defaults."""
    bound = signature(kind).bind(**{key: value for key, value in config.items() if key != "type"})
    bound.apply_defaults()
    return SimpleNamespace(**bound.arguments)


def fingerprint(value: Any) -> str:
    """Equal for equal content."""
    return json.dumps(value, sort_keys=True, default=repr)
