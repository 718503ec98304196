"""Read a data set as a training would, and more of it, so that what would end or thin the training is known before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lira_plugin.datasets.findings import CUT, UNUSABLE, Finding
from lira_plugin.datasets.grounding_dataset import Draw
from lira_plugin.datasets.lengths import image_size
from lira_plugin.datasets.mixture import MixtureDataset
from lira_plugin.datasets.question_files import scan_questions
from lira_plugin.datasets.scans import Scan
from lira_plugin.datasets.transforms import LoadImage
from lira_plugin.structures import (
    Conversation,
    FaultKind,
    GroundingSample,
    PhraseSpan,
    Record,
    TokenKind,
    Turn,
    decode_segmentation,
    kind_of,
    shown,
)

_READ_TOGETHER = 16
"""Records that a worker reads between two messages."""
_SIZE_UNKNOWN = (448, 448)
"""Of the blank image that stands for one that is not read and cannot be."""


@dataclass(frozen=True)
class CheckedSample:
    """What is counted of one sample.

    Args:
        positions: length of the sequence, L.
        text: positions of text, which ``max_length`` limits.
        views: region views.
        masks: masks that are learnt.
        findings: what is wrong with the record.
        is_made: whether there is a sample.
    """

    positions: int = 0
    text: int = 0
    views: int = 0
    masks: int = 0
    findings: tuple[Finding, ...] = ()
    is_made: bool = True


@dataclass
class SourceCheck:
    """One data set: how many samples could be made of it, how long they are, and what is wrong with it.

    Args:
        source: data set and split.
        records: in the data set; those that its reader left out are not counted.
        samples: that were made; a record with many sentences makes several.
        positions, text: sums and maxima over the samples, see :class:`CheckedSample`.
        views, masks: sums.
        findings: what is wrong, in the order in which it was met.
    """

    source: str
    records: int = 0
    samples: int = 0
    positions: int = 0
    max_positions: int = 0
    text: int = 0
    max_text: int = 0
    views: int = 0
    masks: int = 0
    findings: list[Finding] = field(default_factory=list)

    def of_effect(self, effect: str) -> list[Finding]:
        """The findings of one effect on a training."""
        return [finding for finding in self.findings if finding.effect == effect]

    @property
    def faults(self) -> list[Finding]:
        """The findings without what a rule of the data set leaves out."""
        return [finding for finding in self.findings if finding.kind is not FaultKind.BY_RULE]

    def add(self, sample: CheckedSample) -> None:
        """Count a sample."""
        self.findings += [finding for finding in sample.findings if finding not in self.findings[-20:]]
        if not sample.is_made:
            return
        self.samples += 1
        self.positions += sample.positions
        self.text += sample.text
        self.max_positions = max(self.max_positions, sample.positions)
        self.max_text = max(self.max_text, sample.text)
        self.views += sample.views
        self.masks += sample.masks


def check_dataset(
    dataset: Any, num_workers: int = 0, draws: int = 1, every: int = 1, show_progress: bool = True
) -> Iterator[SourceCheck]:
    """Read the records of a data set, or of each of a mixture: every sentence, turn and mask, and through the pipeline.

    Args:
        dataset: a :class:`~lira_plugin.datasets.GroundingDataset` or mixture with its pipeline. Repeats are not read again.
        num_workers: processes that read.
        draws: how often a record is read, where views are drawn. All of its sentences are read each time.
        every: read one record of so many.
        show_progress: show a progress bar for each source on a terminal.

    Yields:
        the check of one source after the other.

    Raises:
        ValueError: ``draws`` or ``every`` is not positive.
    """
    for part, pipelines in parts_of(dataset):
        check = SourceCheck(part.source, len(part), findings=list(part.findings))
        for sample in read_part(part, pipelines, num_workers, draws, every, show_progress=show_progress):
            check.add(sample)
        yield check


def read_part(
    part: Any,
    pipelines: Sequence[Any],
    num_workers: int = 0,
    draws: int = 1,
    every: int = 1,
    *,
    scan: Scan | None = None,
    decode: bool = True,
    show_progress: bool = True,
) -> Iterator[CheckedSample]:
    """Read the records of one data set; further arguments as of :func:`check_dataset`.

    Args:
        part: the data set.
        pipelines: what its records go through, in order.
        scan: of its files, whose faults are not named once more.
        decode: read the images; else blank ones stand for them.

    Raises:
        ValueError: ``draws`` or ``every`` is not positive.
    """
    if draws < 1 or every < 1:
        raise ValueError(f"draws and every must be positive, got {draws} and {every}")
    drawn = [Draw(index, draw) for index in range(0, len(part), every) for draw in range(draws)]
    reader = _Reader(part, pipelines, scan, decode)
    loader = DataLoader(reader, _READ_TOGETHER, sampler=drawn, num_workers=num_workers, collate_fn=list)
    with tqdm(desc=part.source, total=len(drawn), disable=None if show_progress else True) as bar:
        for records in loader:
            for samples in records:
                yield from samples
            bar.update(len(records))


def parts_of(dataset: Any, outer: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The data sets that a mixture is made of, with the pipelines that their records go through."""
    pipelines = (dataset.pipeline, *outer)
    if not isinstance(dataset, MixtureDataset):
        yield dataset, pipelines
        return
    for part in dataset.datasets:
        yield from parts_of(part, pipelines)


class _Reader(Dataset):
    """Records as what is counted of their samples and found wrong with them."""

    def __init__(self, dataset: Any, pipelines: Sequence[Any], scan: Scan | None = None, decode: bool = True) -> None:
        self.dataset, self.pipelines, self.decode = dataset, pipelines, decode
        self.is_scanned = scan is not None
        self.touched = scan.touched if scan is not None else set()
        self.units = scan.units if scan is not None else {}

    def __getitem__(self, draw: Draw) -> list[CheckedSample]:
        try:
            records = list(self.dataset.whole_records(draw.index))
        except Exception as error:
            source, name = self.dataset.source, f"at position {draw.index}"
            finding = Finding(kind_of(error), source, name, f"{source} {name}: {message_of(error)}")
            return [CheckedSample(findings=() if self.touched else (finding,), is_made=False)]
        return [self._check(record, draw) for record in records]

    def _check(self, record: Record, draw: Draw) -> CheckedSample:
        bad_masks = {} if self.is_scanned else _check_masks(record)
        if not bad_masks:
            try:
                sample = self._sample(record, draw)
            except Exception as error:
                whole = self._finding(record, error)
            else:
                return self._count(sample, record, draw)
        findings = [finding for found in bad_masks.values() for finding in found]
        for turn in _turns(record, bad_masks):
            try:
                self._sample(turn, draw)
            except Exception as error:
                findings.append(self._finding(turn, error))
        kept = [finding for finding in findings or [whole] if self._is_new(record, finding)]
        return CheckedSample(findings=tuple(dict.fromkeys(kept)), is_made=False)

    def _is_new(self, record: Record, finding: Finding) -> bool:
        """Whether the scan of the files has not said already what is wrong with the record."""
        return record.record_id not in self.touched or finding.kind is FaultKind.OVER_LONG

    def _finding(self, record: Record, error: Exception) -> Finding:
        named, message = f"{record.source} record {record.record_id}", message_of(error)
        said = message if named in message else f"{named}: {message}"
        return self._named(record, kind_of(error), said, UNUSABLE)

    def _named(self, record: Record, kind: FaultKind, said: str, effect: str) -> Finding:
        """A finding with what the scan knows of where the record's last phrase, or else a turn or the record, stands."""
        phrases = [region.phrase for region in record.regions]
        texts = [f"{turn.question}\n{turn.answer}" for turn in record.conversation.turns]
        keys = [(record.record_id, key) for key in (*reversed(phrases), *texts, "")]
        name, file, unit = next((self.units[key] for key in keys if key in self.units), (record.record_id, "", None))
        return Finding(kind, record.source, name, said, effect, file, unit)

    def _count(self, sample: GroundingSample, record: Record, draw: Draw) -> CheckedSample:
        """What is counted of a sample, and what it has lost."""
        empty = 0 if self.is_scanned else sample.empty_regions
        losses = (
            (FaultKind.OVER_LONG, sample.dropped_regions, "max_length leaves out {} regions"),
            (FaultKind.TINY_MASK, empty, "{} regions have no pixel in the letterboxed square and are not learnt"),
            (FaultKind.OVER_LONG, sample.cut_answers, "max_length cuts {} answers"),
        )
        findings = []
        for kind, count, words in losses:
            if count:
                is_cut = kind is FaultKind.OVER_LONG
                own = (
                    next((turn for turn in _turns(record, {}) if self._is_cut(turn, draw)), record)
                    if is_cut
                    else record
                )
                findings.append(self._named(own, kind, f"{sample.name}: {words.format(count)}", CUT))
        return CheckedSample(
            positions=len(sample.input_ids),
            text=int((sample.kinds == TokenKind.TEXT).sum()),
            views=len(sample.view_tiles),
            masks=len(sample.masks),
            findings=tuple(findings),
        )

    def _is_cut(self, record: Record, draw: Draw) -> bool:
        """Whether a record of one turn does not fit by itself."""
        try:
            sample = self._sample(record, draw)
        except ValueError as error:
            return kind_of(error) is FaultKind.OVER_LONG
        return bool(sample.dropped_regions or sample.cut_answers)

    def _sample(self, record: Record, draw: Draw) -> GroundingSample:
        result: Any = {
            "record": record,
            "rng": np.random.default_rng((self.dataset.seed, draw.draw_index, draw.index)),
            "index": draw.index,
        }
        if not self.decode and record.image_path is not None:
            result["image"] = np.zeros((*(_size_of(record) or _SIZE_UNKNOWN), 3), np.uint8)
        for pipeline in self.pipelines:
            result = pipeline(result)
        return result


def message_of(error: Exception) -> str:
    """What an error says; of one that is not about a value also its type."""
    return str(error) if isinstance(error, ValueError | OSError) else repr(error)


def _finding(record: Record, error: Exception, message: str) -> Finding:
    name = f"{record.source} record {record.record_id}"
    said = message if name in message else f"{name}: {message}"
    return Finding(kind_of(error), record.source, record.record_id, said)


def _check_masks(record: Record) -> dict[int, list[Finding]]:
    """What is wrong with each annotation of each region, by index of the region; nothing where the size is not known."""
    bad: dict[int, list[Finding]] = {}
    size = _size_of(record) if record.regions else None
    for index, region in enumerate(record.regions if size else ()):
        for part, segmentation in enumerate(region.segmentations):
            try:
                decode_segmentation(segmentation, *size)
            except Exception as error:  # such as an RLE that no reader has checked
                what = f"annotation {part} of the region {shown(region.phrase)}: {message_of(error)}"
                bad.setdefault(index, []).append(_finding(record, error, what))
    return bad


def _size_of(record: Record) -> tuple[int, int] | None:
    """(height, width) of the image; None where the pipeline will say better what is wrong with it."""
    try:
        return record.size or image_size(record)
    except ValueError:
        return None


def _turns(record: Record, bad_masks: dict[int, list[Finding]]) -> Iterator[Record]:
    """A record for each turn, with its regions, but for turns about regions whose masks are bad."""
    for turn in record.conversation.turns:
        named = [span.region for span in turn.spans]
        if not bad_masks.keys() & set(named):
            spans = tuple(PhraseSpan(span.start, span.end, index) for index, span in enumerate(turn.spans))
            regions = tuple(record.regions[index] for index in named)
            yield replace(record, conversation=Conversation((replace(turn, spans=spans),)), regions=regions)


def check_questions(path: str | Path) -> SourceCheck:
    """Check a file of questions (:func:`~lira_plugin.datasets.question_files.read_questions`): every line and every image."""
    source = str(path)
    try:
        found = scan_questions(path)
    except (ValueError, OSError) as error:
        return SourceCheck(source, findings=[Finding(FaultKind.UNREADABLE_FILE, source, "", str(error))])
    check = SourceCheck(source, records=len(found.questions), findings=[*found.bad, *found.missing])
    load = LoadImage()
    for index, item in found.questions:
        record = Record(source, f"in line {index}", item.image, Conversation((Turn(item.question, ""),)))
        try:
            load.transform({"record": record})
        except (ValueError, OSError) as error:
            check.findings.append(_finding(record, error, str(error)))
        else:
            check.samples += 1
    return check
