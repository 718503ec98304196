"""Read a data set as a training would, so that what would end or thin the training is known before."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from lira_plugin.datasets.grounding_dataset import Draw
from lira_plugin.datasets.mixture import MixtureDataset
from lira_plugin.structures import GroundingSample, TokenKind

_READ_TOGETHER = 16
"""Samples that a worker reads between two messages."""


@dataclass(frozen=True)
class CheckedSample:
    """What is counted of one sample.

    Args:
        name: source and record.
        positions: length of the sequence, L.
        text: positions of text, which ``max_length`` limits.
        views: region views.
        masks: masks that are learnt.
        dropped: regions that ``max_length`` left out.
        empty: regions whose mask has no pixel.
        cut: answers that ``max_length`` cut.
        error: why the sample could not be made, else empty.
    """

    name: str
    positions: int = 0
    text: int = 0
    views: int = 0
    masks: int = 0
    dropped: int = 0
    empty: int = 0
    cut: int = 0
    error: str = ""

    @property
    def losses(self) -> list[str]:
        """What the sample does not teach, in words."""
        found = {
            f"max_length leaves out {self.dropped} regions": self.dropped,
            f"{self.empty} regions have no pixel in the letterboxed square and are not learnt": self.empty,
            f"max_length cuts {self.cut} answers": self.cut,
        }
        return [f"{self.name}: {words}" for words, count in found.items() if count]


@dataclass
class SourceCheck:
    """One data set: how many samples could be read, how long they are, and what is wrong with the others.

    Args:
        source: data set and split.
        records: in the data set; of each, some draws are read.
        samples: that were read.
        positions, text: sums and maxima over the samples, see :class:`CheckedSample`.
        views, masks: sums.
        dropped: a line for each kind of loss of a sample: regions or answers to ``max_length``, regions without a pixel.
        errors: a message for each sample that could not be made.
    """

    source: str
    records: int
    samples: int = 0
    positions: int = 0
    max_positions: int = 0
    text: int = 0
    max_text: int = 0
    views: int = 0
    masks: int = 0
    dropped: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def add(self, sample: CheckedSample) -> None:
        """Count a sample."""
        if sample.error:
            self.errors.append(sample.error)
            return
        self.samples += 1
        self.positions += sample.positions
        self.text += sample.text
        self.max_positions = max(self.max_positions, sample.positions)
        self.max_text = max(self.max_text, sample.text)
        self.views += sample.views
        self.masks += sample.masks
        self.dropped += sample.losses


class _Guarded(Dataset):
    """Samples as what is counted of them; an error is counted too."""

    def __init__(self, dataset: Any, source: str) -> None:
        self.dataset, self.source = dataset, source

    def __getitem__(self, draw: Draw) -> CheckedSample:
        try:
            return _count(self.dataset[draw])
        except Exception as error:  # whatever would end a training is what is looked for
            message = str(error) if isinstance(error, ValueError | OSError) else repr(error)
            named = self.source in message
            return CheckedSample(
                self.source,
                error=message if named else f"{self.source}, index {draw.index} of the data set: {message}",
            )


def _count(sample: GroundingSample) -> CheckedSample:
    return CheckedSample(
        sample.name,
        positions=len(sample.input_ids),
        text=int((sample.kinds == TokenKind.TEXT).sum()),
        views=len(sample.view_tiles),
        masks=len(sample.masks),
        dropped=sample.dropped_regions,
        empty=sample.empty_regions,
        cut=sample.cut_answers,
    )


def check_dataset(
    dataset: Any, num_workers: int = 0, draws: int = 1, every: int = 1, show_progress: bool = True
) -> Iterator[SourceCheck]:
    """Read the records of a data set, or of each of a mixture, through its pipeline.

    Args:
        dataset: a :class:`~lira_plugin.datasets.GroundingDataset` or mixture with its pipeline. Repeats are not read again.
        num_workers: processes that read.
        draws: how often a record is read, where sentences, questions and views are drawn.
        every: read one record of so many.
        show_progress: show a progress bar for each source on a terminal.

    Yields:
        the check of one source after the other.

    Raises:
        ValueError: ``draws`` or ``every`` is not positive.
    """
    if draws < 1 or every < 1:
        raise ValueError(f"draws and every must be positive, got {draws} and {every}")
    for source, start, records in _sources(dataset):
        drawn = [Draw(start + index, draw) for index in range(0, records, every) for draw in range(draws)]
        loader = DataLoader(
            _Guarded(dataset, source), _READ_TOGETHER, sampler=drawn, num_workers=num_workers, collate_fn=list
        )
        check = SourceCheck(source, records)
        with tqdm(desc=source, total=len(drawn), disable=None if show_progress else True) as bar:
            for samples in loader:
                for sample in samples:
                    check.add(sample)
                bar.update(len(samples))
        yield check


def _sources(dataset: Any) -> list[tuple[str, int, int]]:
    """Name, first index and count of records of each data set."""
    if not isinstance(dataset, MixtureDataset):
        return [(dataset.source, 0, len(dataset))]
    found, start = [], 0
    for part in dataset.describe():
        found.append((part.source, start, part.records))
        start += part.records * part.repeats
    return found
