"""What a reader found wrong with its files: raised all at once, or counted, logged and kept."""

import os
from collections import Counter, defaultdict

import msgspec

from lira_plugin.datasets.findings import LEFT_OUT, TAKEN, UNUSABLE, BadRecord, BadRecords, Finding, NoRecords
from lira_plugin.datasets.grounding_dataset import log_skipped
from lira_plugin.structures import FaultKind

_WAY_OUT = (
    "Repair the record, or leave such records out with on_bad_record='skip' (docs/troubleshooting.md#bad-records)"
)


class _Noted(msgspec.Struct):
    """A report as it is stored: findings, and (path, what was done, reason, entries) for the log."""

    findings: list[Finding]
    entries: list[tuple[str, str, str, list[str]]]


class ReaderReport:
    """Collects while the files of a data set are read, so that one bad record does not hide the others.

    Args:
        source: data set and split.
        on_bad_record: ``raise``, or ``skip`` to leave bad records out.

    Raises:
        ValueError: ``on_bad_record`` is neither.
    """

    def __init__(self, source: str, on_bad_record: str) -> None:
        if on_bad_record not in ("raise", "skip"):
            raise ValueError(f"on_bad_record must be 'raise' or 'skip', got {on_bad_record!r}")
        self.source, self.on_bad_record = source, on_bad_record
        self.findings: list[Finding] = []
        self._entries: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))

    def bad(self, path: str | os.PathLike, record_id: str, where: str, error: BadRecord) -> None:
        """Note a record that cannot be used; ``where`` names it with its position."""
        self._note(UNUSABLE, error.kind, path, record_id, error.reason, error.detail, where)

    def left_out(
        self,
        path: str | os.PathLike,
        record_id: str,
        reason: str,
        detail: str = "",
        kind: FaultKind = FaultKind.BY_RULE,
    ) -> None:
        """Note something that is left out of sound records, or a sound record that is."""
        self._note(LEFT_OUT, kind, path, record_id, reason, detail, f"record {record_id}")

    def taken(self, path: str | os.PathLike, record_id: str, reason: str, detail: str = "", *, kind: FaultKind) -> None:
        """Note what contradicts itself and is taken as it is."""
        self._note(TAKEN, kind, path, record_id, reason, detail, f"record {record_id}")

    def _note(
        self,
        effect: str,
        kind: FaultKind,
        path: str | os.PathLike,
        record_id: str,
        reason: str,
        detail: str,
        where: str,
    ) -> None:
        what = f"{reason}: {detail}" if detail else reason
        self.findings.append(Finding(kind, self.source, record_id, f"{path}: {where}: {what}", effect, str(path)))
        done = "took as they are" if effect == TAKEN else "left out"
        self._entries[str(path), done][reason].append(f"{record_id}: {detail}" if detail else record_id)

    def encoded(self) -> bytes:
        """What was noted, to be stored with the records."""
        entries = [(*key, reason, ids) for key, skipped in self._entries.items() for reason, ids in skipped.items()]
        return msgspec.msgpack.encode(_Noted(self.findings, entries))

    def restore(self, data: bytes) -> None:
        """Note what an earlier reading of the files has noted.

        Raises:
            ValueError: the data are not what :meth:`encoded` gives.
        """
        noted = msgspec.msgpack.decode(data, type=_Noted)
        self.findings += noted.findings
        for path, done, reason, ids in noted.entries:
            self._entries[path, done][reason] += ids

    @property
    def is_to_raise(self) -> bool:
        """Whether :meth:`finish` will raise."""
        return self.on_bad_record == "raise" and any(finding.effect == UNUSABLE for finding in self.findings)

    def finish(self) -> list[Finding]:
        """Log what was left out or doubted, and return it.

        Raises:
            BadRecords: records cannot be used, and are not to be left out.
        """
        bad = [finding for finding in self.findings if finding.effect == UNUSABLE]
        if bad and self.on_bad_record == "raise":
            raise BadRecords(bad, _WAY_OUT)
        for (path, done), skipped in self._entries.items():
            log_skipped(self.source, path, dict(skipped), done=done)
        return self.findings

    def nothing_left(self, path: str | os.PathLike, what: str = "record") -> NoRecords:
        """The error of a file of which nothing can be used, with how much was left out for which reason."""
        counts = Counter()
        for skipped in self._entries.values():
            counts.update({reason: len(entries) for reason, entries in skipped.items()})
        return NoRecords(f"{path} holds no {what} that can be used; left out: {dict(counts)}", self.findings)
