"""MMBench and SEED: tables of multiple-choice questions with their images in base64."""

from collections.abc import Iterator
from string import ascii_uppercase
from typing import Any

import numpy as np

from lira_plugin.datasets.choice_dataset import ChoiceDataset, choice_index, choice_truth
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.datasets.image_table import Cells, ImageTable
from lira_plugin.registry import DATASETS
from lira_plugin.structures import ExifRule, FaultKind, Record, shown

TURN = 1_000_000
"""MMBench's questions whose choices are turned have the index of the question plus multiples of this."""
_DIGITS = 18
_NEEDED = ("index", "question", "image")


@DATASETS.register_module()
class ChoiceTableDataset(ChoiceDataset):
    """Multiple-choice questions with images in base64, tab-separated, as MMBench publishes them (and VLMEvalKit SEED).

    Columns are ``index``, ``question``, ``image``, ``A``, ``B``, ... and, where there are such, ``hint``, ``answer`` (a letter),
    ``category`` and ``split``. An ``image`` of up to 64 characters is the index of the record that has the same one. Questions
    whose indices differ by multiples of 1,000,000 are one, with its choices turned: they are one group.

    Args:
        ann_file: the table.
        image_cache: folder for the images' folder, ``NAME.images``; None takes the table's.
        split: leave out records whose ``split`` is another; None takes all.
        source, ask_as, pipeline, first, on_bad_record, exif: see :class:`~lira_plugin.datasets.ChoiceDataset`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it lacks a column, or, with ``on_bad_record='raise'``, records cannot be used. All are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_cache: str | None = None,
        split: str | None = None,
        source: str = "mmbench",
        ask_as: str = "choices",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, ask_as, pipeline, first, on_bad_record, exif)
        self.protocol |= {"files": [ann_file], "split": split}
        self.table = ImageTable(ann_file, image_cache)
        needed = (*_NEEDED, *["split"] * (split is not None))
        if lacking := [name for name in needed if name not in self.table.columns]:
            raise ValueError(
                f"{ann_file} is no table of questions: it lacks {lacking}, its columns are {self.table.columns}"
            )
        self._letters = [letter for letter in ascii_uppercase if letter in self.table.columns]
        self._cells: dict[str, Cells] = {}

        def parse(name: str, value: Cells | BadRecord) -> Record | None:
            if isinstance(value, BadRecord):
                raise value
            if split is not None and value.values["split"] != split:
                return None
            return self._record(name, value)

        self.read(ann_file, self._named(), parse)
        self.finish(ann_file)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``, whose image is written if it is not yet; nothing is random."""
        record = self.records[index]
        self.table.write_image(self._cells[record.record_id])
        return record

    @property
    def image_paths(self) -> list[str | None]:
        """The image of each record; none is written."""
        return [record.image_path for record in self.records]

    def _named(self) -> Iterator[tuple[str, Any]]:
        """The records with their indices; what they say of their images is kept."""
        for position, cells in enumerate(self.table):
            if isinstance(cells, BadRecord):
                yield str(position), cells
            else:
                name = cells.values["index"].strip()
                self._cells.setdefault(name, cells)
                yield name, cells

    def _record(self, name: str, cells: Cells) -> Record:
        values = cells.values
        if not name.isdecimal() or len(name) > _DIGITS:
            raise BadRecord(
                f"'index' must be a whole number of up to {_DIGITS} digits", f"got {shown(values['index'])}"
            )
        if cells.image.isdecimal():
            if cells.image not in self._cells:
                raise BadRecord(
                    "it has the image of a record that is not before it", f"index {cells.image!r}", FaultKind.UNKNOWN_ID
                )
            cells = self._cells[name] = self._cells[cells.image]
        if not cells.image or cells.image.isdecimal():
            raise BadRecord("it has no image", f"got {cells.image!r}", FaultKind.MISSING_IMAGE)
        choices = [values[letter] for letter in self._letters]
        while choices and not choices[-1].strip():
            choices.pop()
        answer = choice_index(values.get("answer") or None)
        group = str(int(name) % TURN)
        truth = choice_truth(values["question"], choices, answer, values.get("category", ""), group)
        return self.ask_choice(name, self.table.file_of(cells.image), truth, values.get("hint", ""))
