"""What is found wrong with data: typed, so that a reader can raise, log or count it, and a check can list it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lira_plugin.structures import FaultKind

UNUSABLE, LEFT_OUT, TAKEN, CUT = "unusable", "left out", "taken as it is", "cut"
"""Effects of a fault: the training would end; it leaves the record or a part out; it takes it as it is; it cuts it."""

_SHOWN = 9
"""Groups of further findings that an error lists."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        kind: what is wrong.
        source: data set and split, such as ``refcoco/val``, or the file.
        record: id of the record in its source; empty where it is about the whole source.
        message: what is wrong, with the value and the way out.
        effect: what a training does with it: :data:`UNUSABLE`, :data:`LEFT_OUT`, :data:`TAKEN` or :data:`CUT`.
        file: the annotation file that holds it; empty where that is not known.
        unit: keys and indices in the file to the smallest thing to leave out; None where that is not known.
    """

    kind: FaultKind
    source: str
    record: str
    message: str
    effect: str = UNUSABLE
    file: str = ""
    unit: tuple[str | int, ...] | None = None

    @property
    def pattern(self) -> str:
        """The message without what differs from record to record: paths, quoted values, figures and the record itself."""
        text = re.sub(rf"(?<!\w){re.escape(self.record)}(?!\w)", "…", self.message) if self.record else self.message
        text = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", "'…'", text)
        return re.sub(r"\S*/\S*|\b\d[\w.x]*", "…", text)


def grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one kind, effect, source and pattern together, in the order in which the groups were met."""
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.kind, finding.effect, finding.source, finding.pattern), []).append(finding)
    return list(groups.values())


def group_line(group: Sequence[Finding]) -> str:
    """A line for a group: its first message, how often it occurs, and some of its other records."""
    first, *others = group
    names = list(dict.fromkeys(finding.record for finding in others))
    if not others:
        return first.message
    return (
        f"{first.message} (and {len(others)} more like it: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
    )


class BadRecord(ValueError):
    """A record that is not of its format.

    Args:
        reason: in general, by which such records are counted.
        detail: the value.
        kind: of fault.
    """

    def __init__(self, reason: str, detail: str = "", kind: FaultKind = FaultKind.LAYOUT) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.kind = reason, detail, kind

    def __reduce__(self) -> tuple:
        return BadRecord, (self.reason, self.detail, self.kind)


class BadRecords(ValueError):
    """Records that cannot be used: all of those of a file, with the message of the first and some of the others.

    Args:
        findings: at least one; their messages begin with file and record.
        way_out: what to do, a sentence.
    """

    def __init__(self, findings: Sequence[Finding], way_out: str) -> None:
        self.findings, self.way_out = tuple(findings), way_out
        first, *others = self.findings
        lines = [f"{first.message}. {way_out}"]
        if others:
            groups = grouped(others)
            lines.append(f"{len(others)} more cannot be used:")
            lines += [f"  {group_line(group)}" for group in groups[:_SHOWN]]
            if len(groups) > _SHOWN:
                lines.append(f"  and {len(groups) - _SHOWN} further kinds; tools/check_data.py lists all")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple:
        return BadRecords, (self.findings, self.way_out)


class NoRecords(ValueError):
    """A file of which no record can be used.

    Args:
        message: with the counts.
        findings: why each record was left out.
    """

    def __init__(self, message: str, findings: Sequence[Finding]) -> None:
        super().__init__(message)
        self.message, self.findings = message, tuple(findings)

    def __reduce__(self) -> tuple:
        return NoRecords, (self.message, self.findings)
