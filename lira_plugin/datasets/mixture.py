"""Several data sets as one."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset

from lira_plugin.datasets.grounding_dataset import Draw, Pipeline, build_pipeline, tiles_of
from lira_plugin.datasets.lengths import makes_sequences, record_lengths
from lira_plugin.datasets.mixture_shares import Share, count_draws
from lira_plugin.datasets.reading_ahead import build_side_by_side
from lira_plugin.registry import DATASETS
from lira_plugin.settings import SHARE_KEYS, check_config, refuse_untyped
from lira_plugin.structures import GroundingSample


class MixturePart(NamedTuple):
    """One data set of a mixture: its name, its count of records, and how often an epoch draws each of them on average."""

    source: str
    records: int
    repeats: float

    @property
    def draws(self) -> int:
        """Draws of an epoch."""
        return round(self.records * self.repeats)


def _built(entry: dict | Dataset) -> Any:
    return DATASETS.build(entry) if isinstance(entry, dict) else entry


@DATASETS.register_module()
class MixtureDataset(Dataset):
    """Concatenation of data sets, each as often as its share says; the sampler shuffles, not the mixture.

    Indices run through the first data set, through its repeats, then through the second, and so on. A :class:`Draw`
    keeps its ``draw_index``; a plain index gets that of its repeat, so that the copies of a record differ in what is
    random about it. A last repeat of a part of the records takes the same ones in every epoch, drawn by ``seed``.

    Args:
        datasets: data sets, or dicts to build them from, in which the keys of
            :class:`~lira_plugin.datasets.mixture_shares.Share` are allowed: ``dict(type=GCGDataset, repeats=10, ...)``.
        repeats: how often each data set counts, for those that are given as objects.
        pipeline: one for all data sets, which then have none themselves; see
            :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        temperature: divide the epoch by ``size ** (1 / temperature)``; see
            :func:`~lira_plugin.datasets.mixture_shares.count_draws`.
        epoch_size: draws of an epoch that is divided by shares or temperature; by default as many as there are records.
        seed: chooses the records of a part of a data set.

    Raises:
        ValueError: there is no data set, or a share of one is missing, given twice, not positive or too small for a record.
    """

    def __init__(
        self,
        datasets: Sequence[dict | Dataset],
        repeats: Sequence[float] | None = None,
        pipeline: Pipeline | None = None,
        temperature: float | None = None,
        epoch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        if not datasets:
            raise ValueError("a mixture needs at least one data set")
        if repeats is not None and len(repeats) != len(datasets):
            raise ValueError(f"'repeats' has {len(repeats)} entries for {len(datasets)} data sets")
        self.pipeline = build_pipeline(pipeline)
        entries, shares = [], []
        for position, entry in enumerate(datasets):
            settings = {} if repeats is None else {"repeats": repeats[position]}
            if isinstance(entry, dict):
                refuse_untyped(entry, f"datasets.{position}")
                check_config(entry, f"datasets.{position}", SHARE_KEYS)
                if repeats is not None and "repeats" in entry:
                    raise ValueError(
                        f"data set {position} of the mixture has its own 'repeats' besides that of the mixture"
                    )
                settings |= {key: value for key, value in entry.items() if key in SHARE_KEYS}
                entry = {key: value for key, value in entry.items() if key not in SHARE_KEYS}
            entries.append(entry)
            shares.append(Share.of(settings, f"data set {position} of the mixture"))
        self.datasets: list[Any] = build_side_by_side(entries, _built)
        sizes = [len(child) for child in self.datasets]
        draws = count_draws(sizes, shares, temperature, epoch_size)
        self._ends = list(accumulate(draws))
        self._rests = [
            np.random.default_rng([seed, position]).permutation(size)[: count % size if size else 0]
            for position, (count, size) in enumerate(zip(draws, sizes))
        ]

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def modality_length(self) -> list[int]:
        """Lengths of the records in the order of this mixture's indices, for samplers; negative without an image.

        Positions of the sequences that the mixture's pipeline makes (:func:`~lira_plugin.datasets.lengths.record_lengths`); where
        it makes none, what the data sets say.
        """
        whole = makes_sequences(self.pipeline)
        return self._drawn(
            record_lengths(child, self.pipeline) if whole else child.modality_length for child in self.datasets
        )

    @property
    def image_paths(self) -> list[str | None]:
        """The image of each record in the order of this mixture's indices, None without one."""
        return self._drawn(child.image_paths for child in self.datasets)

    def _drawn(self, values: Iterable[Sequence[Any]]) -> list[Any]:
        """Values of the records of each data set, in the order of this mixture's indices."""
        drawn = []
        for own, part, rest in zip(values, self.describe(), self._rests):
            drawn += [*(list(own) * (part.draws // max(1, len(own)))), *(own[index] for index in rest)]
        return drawn

    def describe(self) -> tuple[MixturePart, ...]:
        """What the mixture is made of, in order."""
        starts = [0, *self._ends]
        parts = []
        for child, start, end in zip(self.datasets, starts, self._ends):
            whole, rest = divmod(end - start, len(child)) if len(child) else (1, 0)
            repeats = (end - start) / len(child) if rest else whole
            parts.append(MixturePart(getattr(child, "source", type(child).__name__), len(child), repeats))
        return tuple(parts)

    def table(self) -> str:
        """What an epoch holds, for the log: records, repeats, draws and share of each data set."""
        lines = [("data set", "records", "repeats", "draws", "share")]
        for part in self.describe():
            share = f"{100 * part.draws / len(self):.1f} %"
            lines.append((part.source, f"{part.records:,}", f"{part.repeats:g}", f"{part.draws:,}", share))
        lines.append(("together", f"{sum(part.records for part in self.describe()):,}", "", f"{len(self):,}", ""))
        widths = [max(map(len, column)) for column in zip(*lines)]
        return "\n".join(
            "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))])
            for line in lines
        )

    @property
    def metainfo(self) -> dict[str, Any]:
        """What MMEngine hands to evaluators and visualizers as ``dataset_meta``: the names of the data sets."""
        return {"sources": [part.source for part in self.describe()]}

    def protocols(self) -> dict[str, dict[str, Any]]:
        """What scores on the data sets depend on, by source, see :meth:`GroundingDataset.protocols`."""
        own = tiles_of(self.pipeline)
        parts = (child.protocols() for child in self.datasets if hasattr(child, "protocols"))
        return {source: protocol | own for part in parts for source, protocol in part.items()}

    def __getitem__(self, draw: int | Draw) -> GroundingSample:
        index = draw.index if isinstance(draw, Draw) else int(draw)
        if not 0 <= index < len(self):
            raise IndexError(f"the mixture has {len(self)} records, asked for index {index}")
        position = bisect_right(self._ends, index)
        child, rest = self.datasets[position], self._rests[position]
        start = self._ends[position - 1] if position else 0
        repeat, inner = divmod(index - start, len(child))
        if index >= self._ends[position] - len(rest):
            inner = int(rest[inner])
        item = child[Draw(inner, draw.draw_index if isinstance(draw, Draw) else repeat)]
        if isinstance(item, dict):
            item["index"] = index
        elif isinstance(item, GroundingSample):  # of a data set with a pipeline of its own
            item.index = index
        return self.pipeline(item)
