"""Several data sets as one."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from lira_plugin.datasets.grounding_dataset import Draw, Pipeline, build_pipeline
from lira_plugin.datasets.lengths import makes_sequences, record_lengths
from lira_plugin.registry import DATASETS
from lira_plugin.settings import check_config, refuse_untyped
from lira_plugin.structures import GroundingSample


class MixturePart(NamedTuple):
    """One data set of a mixture: its name, its count of records, and how often it is repeated."""

    source: str
    records: int
    repeats: int


@DATASETS.register_module()
class MixtureDataset(Dataset):
    """Concatenation of data sets, each repeated a whole number of times; the sampler shuffles, not the mixture.

    Indices run through the first data set, through its repeats, then through the second, and so on. A :class:`Draw`
    keeps its ``draw_index``; a plain index gets that of its repeat, so that the copies of a record differ in what is
    random about it.

    Args:
        datasets: data sets, or dicts to build them from, in which the additional key ``repeats`` is allowed:
            ``dict(type=GCGDataset, repeats=10, ...)``.
        repeats: how often each data set counts, for those that are given as objects.
        pipeline: one for all data sets, which then have none themselves; see
            :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.

    Raises:
        ValueError: there is no data set, or a count of repeats is missing, given twice or not a positive integer.
    """

    def __init__(
        self,
        datasets: Sequence[dict | Dataset],
        repeats: Sequence[int] | None = None,
        pipeline: Pipeline | None = None,
    ) -> None:
        if not datasets:
            raise ValueError("a mixture needs at least one data set")
        if repeats is not None and len(repeats) != len(datasets):
            raise ValueError(f"'repeats' has {len(repeats)} entries for {len(datasets)} data sets")
        self.pipeline = build_pipeline(pipeline)
        self.datasets: list[Any] = []
        self.repeats: list[int] = []
        for position, entry in enumerate(datasets):
            count = 1 if repeats is None else repeats[position]
            if isinstance(entry, dict):
                refuse_untyped(entry, f"datasets.{position}")
                check_config(entry, f"datasets.{position}", ("repeats",))
                if repeats is not None and "repeats" in entry:
                    raise ValueError(
                        f"data set {position} of the mixture has its own 'repeats' besides that of the mixture"
                    )
                count = entry.get("repeats", count)
                entry = DATASETS.build({key: value for key, value in entry.items() if key != "repeats"})
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise ValueError(
                    f"data set {position} of the mixture: 'repeats' must be a positive integer, got {count!r}"
                )
            self.datasets.append(entry)
            self.repeats.append(count)
        self._ends = list(accumulate(len(child) * count for child, count in zip(self.datasets, self.repeats)))

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def modality_length(self) -> list[int]:
        """Lengths of the records in the order of this mixture's indices, for samplers; negative without an image.

        Positions of the sequences that the mixture's pipeline makes (:func:`~lira_plugin.datasets.lengths.record_lengths`); where
        it makes none, what the data sets say.
        """
        whole = makes_sequences(self.pipeline)
        lengths = (record_lengths(child, self.pipeline) if whole else child.modality_length for child in self.datasets)
        return [length for own, count in zip(lengths, self.repeats) for length in own * count]

    @property
    def image_paths(self) -> list[str | None]:
        """The image of each record in the order of this mixture's indices, None without one."""
        return [path for child, count in zip(self.datasets, self.repeats) for path in child.image_paths * count]

    def describe(self) -> tuple[MixturePart, ...]:
        """What the mixture is made of, in order."""
        return tuple(
            MixturePart(getattr(child, "source", type(child).__name__), len(child), count)
            for child, count in zip(self.datasets, self.repeats)
        )

    @property
    def metainfo(self) -> dict[str, Any]:
        """What MMEngine hands to evaluators and visualizers as ``dataset_meta``: the names of the data sets."""
        return {"sources": [part.source for part in self.describe()]}

    def __getitem__(self, draw: int | Draw) -> GroundingSample:
        index = draw.index if isinstance(draw, Draw) else int(draw)
        if not 0 <= index < len(self):
            raise IndexError(f"the mixture has {len(self)} records, asked for index {index}")
        position = bisect_right(self._ends, index)
        child = self.datasets[position]
        offset = index - (self._ends[position - 1] if position else 0)
        repeat, inner = divmod(offset, len(child))
        item = child[Draw(inner, draw.draw_index if isinstance(draw, Draw) else repeat)]
        if isinstance(item, dict):
            item["index"] = index
        elif isinstance(item, GroundingSample):  # of a data set with a pipeline of its own
            item.index = index
        return self.pipeline(item)
