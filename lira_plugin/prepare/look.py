"""Looking at files whose layout is not known: what they are, what is wrong with them, and how a recipe reads them."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import lira_plugin.datasets
from lira_plugin.datasets import ParquetPhraseDataset
from lira_plugin.datasets.findings import NoRecords, group_line, grouped
from lira_plugin.datasets.parquet_images import image_names
from lira_plugin.prepare.layouts import Layout, detect

_NAMED = 5
"""Missing images that are named."""
TRAINING = {"num_expressions": 3, "num_questions": 3}
"""What makes a training of a reader that tests otherwise."""


@dataclass(frozen=True)
class Look:
    """What a file or folder is.

    Args:
        kind: of :data:`~lira_plugin.prepare.layouts.KINDS`.
        records: that its reader gives when testing; 0 where it cannot read it.
        images: different ones of the records.
        split: that was read; None where there are no splits.
        splits: all that there are.
        protocol: what a score depends on; ``per`` where sentences and objects differ.
        problems: what is wrong, a line each.
        reader: ``{"type": name of the class, ...}`` with its arguments.
        others: further files of a folder that are of known layouts.
    """

    kind: str
    records: int
    images: int
    split: str | None
    splits: tuple[str, ...]
    protocol: dict[str, Any]
    problems: tuple[str, ...]
    reader: dict[str, Any]
    others: tuple[str, ...] = ()

    @property
    def recipe(self) -> list[str]:
        """Lines of a recipe that tests it and trains on it; none where nothing can be read."""
        if not self.records:
            return []
        names = signature(getattr(lira_plugin.datasets, self.reader["type"])).parameters
        training = {name: count for name, count in TRAINING.items() if name in names}
        return [
            f"from lira_plugin.datasets import {self.reader['type']}",
            f"test_dataloader.dataset.datasets = [{_line(self.reader)}]",
            f"train_dataloader.dataset.datasets = [{_line({**self.reader, **training})}]",
        ]


def look(path: str | os.PathLike) -> Look:
    """Tell the layout of a file or folder and read all of its records, but no image.

    Raises:
        UnknownLayout: it is none of the known ones.
        FileNotFoundError: there is nothing.
        ValueError: its layout cannot be told, as it cannot be read.
    """
    try:
        layout = detect(Path(path))
    except UnpicklingError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return _read_layout(layout)


class _UnwrittenImages(ParquetPhraseDataset):
    """Reads tables without writing their images to files: looking changes nothing."""

    def _image_files(self, table: str, image_cache: str | None) -> list[str | None]:
        return image_names(table, self.columns.image)


def _read_layout(layout: Layout) -> Look:
    made: Callable = getattr(lira_plugin.datasets, layout.reader)
    made = _UnwrittenImages if made is ParquetPhraseDataset else made
    problems, dataset = list(layout.problems), None
    try:
        dataset = made(**layout.arguments, on_bad_record="skip")
        findings = dataset.findings
    except NoRecords as error:
        findings = error.findings
        problems.append(error.message)
    except (OSError, ValueError, UnpicklingError) as error:
        findings = ()
        problems.append(str(error))
    problems += [f"{group[0].kind}: {group_line(group)}" for group in grouped(findings)]
    paths = _images(dataset, problems) if dataset is not None else set()
    return Look(
        kind=layout.kind,
        records=0 if dataset is None else len(dataset),
        images=len(paths),
        split=layout.split,
        splits=layout.splits,
        protocol={} if dataset is None else dict(dataset.protocol),
        problems=tuple(problems),
        reader={"type": layout.reader, **layout.arguments},
        others=layout.others,
    )


def _images(dataset: Any, problems: list[str]) -> set[str]:
    """The images of the records; what is not there is a problem."""
    try:
        paths = {path for path in dataset.image_paths if path is not None}
    except ValueError as error:
        problems.append(str(error))
        return set()
    if isinstance(dataset, _UnwrittenImages) and dataset.columns.has_bytes:
        return paths
    missing = sorted(path for path in paths if not os.path.isfile(path))
    if missing:
        more = ", ..." if len(missing) > _NAMED else ""
        problems.append(f"{len(missing)} of {len(paths)} images are not there: {', '.join(missing[:_NAMED])}{more}")
    return paths


def _line(reader: dict[str, Any]) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in reader.items() if name != "type")
    return f"dict(type={reader['type']}, {arguments})"
