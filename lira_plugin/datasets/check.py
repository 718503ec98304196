"""Read a data set as a training would, and more of it, so that what would end or thin the training is known before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lira_plugin.datasets.findings import CUT, LEFT_OUT, UNUSABLE, Finding
from lira_plugin.datasets.grounding_dataset import Draw
from lira_plugin.datasets.lengths import image_size
from lira_plugin.datasets.mixture import MixtureDataset
from lira_plugin.datasets.question_files import scan_questions
from lira_plugin.datasets.transforms import LoadImage
from lira_plugin.registry import DATASETS
from lira_plugin.settings import SHARE_KEYS
from lira_plugin.structures import (
    Conversation,
    GroundingSample,
    PhraseSpan,
    Record,
    TokenKind,
    Turn,
    decode_segmentation,
    shown,
)

_READ_TOGETHER = 16
"""Records that a worker reads between two messages."""


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

    def of_kind(self, kind: str) -> list[Finding]:
        """The findings of one kind."""
        return [finding for finding in self.findings if finding.kind == kind]

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


def build_to_check(config: dict[str, Any]) -> tuple[Any | None, list[SourceCheck]]:
    """Build a data set from its config so that bad records, or bad parts of a mixture, do not hide the others.

    Returns:
        The data set, whose readers have left bad records out (they are in its ``findings``), or None where nothing can be read;
        and a check for each part that cannot be read at all.
    """
    if not _is_mixture(config):
        return _build_part(config)
    parts, failed = [], []
    for entry in config["datasets"]:  # shares of an epoch do not matter, for each record is read
        part, lost = build_to_check({key: value for key, value in entry.items() if key not in SHARE_KEYS})
        failed += lost
        if part is not None:
            parts.append(part)
    rest = {key: config[key] for key in ("type", "pipeline") if key in config}
    return (DATASETS.build({**rest, "datasets": parts}) if parts else None), failed


def _class_of(config: dict[str, Any]) -> Any:
    kind = config["type"]
    return DATASETS.get(kind) if isinstance(kind, str) else kind


def _is_mixture(config: dict[str, Any]) -> bool:
    return _class_of(config) is MixtureDataset and all(isinstance(entry, dict) for entry in config["datasets"])


def _build_part(config: dict[str, Any]) -> tuple[Any | None, list[SourceCheck]]:
    kind = _class_of(config)
    takes_bad = kind is not None and "on_bad_record" in signature(kind).parameters
    skip = config.get("on_bad_record") == "skip"
    try:
        dataset = DATASETS.build({**config, "on_bad_record": "skip"} if takes_bad else config)
    except Exception as error:  # whatever would end a training is what is looked for
        source = config.get("source") or " ".join(
            str(config[key]) for key in ("dataset", "split", "layout", "ann_file") if key in config
        )
        found = list(getattr(error, "findings", ()))
        return None, [SourceCheck(source, findings=[*found, Finding(UNUSABLE, source, "", _message(error))])]
    if skip:
        dataset.findings = [
            replace(finding, kind=LEFT_OUT) if finding.kind == UNUSABLE else finding for finding in dataset.findings
        ]
    return dataset, []


def _message(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError | OSError) else repr(error)


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
    if draws < 1 or every < 1:
        raise ValueError(f"draws and every must be positive, got {draws} and {every}")
    for part, pipelines in _parts_of(dataset, ()):
        drawn = [Draw(index, draw) for index in range(0, len(part), every) for draw in range(draws)]
        loader = DataLoader(
            _Reader(part, pipelines), _READ_TOGETHER, sampler=drawn, num_workers=num_workers, collate_fn=list
        )
        check = SourceCheck(part.source, len(part), findings=list(part.findings))
        with tqdm(desc=part.source, total=len(drawn), disable=None if show_progress else True) as bar:
            for records in loader:
                for samples in records:
                    for sample in samples:
                        check.add(sample)
                bar.update(len(records))
        yield check


def _parts_of(dataset: Any, outer: tuple[Any, ...]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The data sets that a mixture is made of, with the pipelines that their records go through."""
    pipelines = (dataset.pipeline, *outer)
    if not isinstance(dataset, MixtureDataset):
        yield dataset, pipelines
        return
    for part in dataset.datasets:
        yield from _parts_of(part, pipelines)


class _Reader(Dataset):
    """Records as what is counted of their samples and found wrong with them."""

    def __init__(self, dataset: Any, pipelines: Sequence[Any]) -> None:
        self.dataset, self.pipelines = dataset, pipelines

    def __getitem__(self, draw: Draw) -> list[CheckedSample]:
        try:
            records = list(self.dataset.whole_records(draw.index))
        except Exception as error:
            source, name = self.dataset.source, f"at position {draw.index}"
            finding = Finding(UNUSABLE, source, name, f"{source} {name}: {_message(error)}")
            return [CheckedSample(findings=(finding,), is_made=False)]
        return [self._check(record, draw) for record in records]

    def _check(self, record: Record, draw: Draw) -> CheckedSample:
        bad_masks = _check_masks(record)
        if not bad_masks:
            try:
                sample = self._sample(record, draw)
            except Exception as error:
                whole = _finding(record, _message(error))
            else:
                return _count(sample, record)
        findings = [finding for found in bad_masks.values() for finding in found]
        for turn in _turns(record, bad_masks):
            try:
                self._sample(turn, draw)
            except Exception as error:
                findings.append(_finding(turn, _message(error)))
        return CheckedSample(findings=tuple(dict.fromkeys(findings or [whole])), is_made=False)

    def _sample(self, record: Record, draw: Draw) -> GroundingSample:
        result = {
            "record": record,
            "rng": np.random.default_rng((self.dataset.seed, draw.draw_index, draw.index)),
            "index": draw.index,
        }
        for pipeline in self.pipelines:
            result = pipeline(result)
        return result


def _finding(record: Record, message: str) -> Finding:
    name = f"{record.source} record {record.record_id}"
    return Finding(UNUSABLE, record.source, record.record_id, message if name in message else f"{name}: {message}")


def _check_masks(record: Record) -> dict[int, list[Finding]]:
    """What is wrong with each annotation of each region, by index of the region; nothing where the size is not known."""
    bad: dict[int, list[Finding]] = {}
    size = _size_of(record) if record.regions else None
    for index, region in enumerate(record.regions if size else ()):
        for part, segmentation in enumerate(region.segmentations):
            try:
                decode_segmentation(segmentation, *size)
            except Exception as error:  # such as an RLE that no reader has checked
                what = f"annotation {part} of the region {shown(region.phrase)}: {_message(error)}"
                bad.setdefault(index, []).append(_finding(record, what))
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


def _count(sample: GroundingSample, record: Record) -> CheckedSample:
    losses = {
        f"max_length leaves out {sample.dropped_regions} regions": sample.dropped_regions,
        f"{sample.empty_regions} regions have no pixel in the letterboxed square and are not learnt": sample.empty_regions,
        f"max_length cuts {sample.cut_answers} answers": sample.cut_answers,
    }
    findings = [
        Finding(CUT, record.source, record.record_id, f"{sample.name}: {words}")
        for words, count in losses.items()
        if count
    ]
    return CheckedSample(
        positions=len(sample.input_ids),
        text=int((sample.kinds == TokenKind.TEXT).sum()),
        views=len(sample.view_tiles),
        masks=len(sample.masks),
        findings=tuple(findings),
    )


def check_questions(path: str | Path) -> SourceCheck:
    """Check a file of questions (:func:`~lira_plugin.datasets.question_files.read_questions`): every line and every image."""
    source = str(path)
    try:
        found = scan_questions(path)
    except (ValueError, OSError) as error:
        return SourceCheck(source, findings=[Finding(UNUSABLE, source, "", str(error))])
    check = SourceCheck(source, records=len(found.questions), findings=[*found.bad, *found.missing])
    load = LoadImage()
    for index, item in found.questions:
        record = Record(source, f"in line {index}", item.image, Conversation((Turn(item.question, ""),)))
        try:
            load.transform({"record": record})
        except (ValueError, OSError) as error:
            check.findings.append(_finding(record, str(error)))
        else:
            check.samples += 1
    return check
