"""A CSV table of (image, mask, phrase), whose masks are black and white PNG files."""

import csv
import io
import os
from collections.abc import Sequence

from lira_plugin.datasets.entries import check_text
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.datasets.mask_values import MaskFile
from lira_plugin.datasets.phrase_masks import PhraseMask, PhraseMaskDataset, plain_phrase, unite_phrases
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.json_file import read_text
from lira_plugin.registry import DATASETS
from lira_plugin.structures import ExifRule, FaultKind, shown

CSV_COLUMNS = {
    "image": ("image", "image_path", "img", "file_name", "filename"),
    "mask": ("mask", "mask_path", "segmentation", "label_path"),
    "phrase": ("phrase", "text", "sentence", "expression", "caption", "label", "class"),
}
"""What the columns may be called; the first that is there counts."""
_SEPARATORS = (",", ";", "\t")


@DATASETS.register_module()
class CsvMaskDataset(PhraseMaskDataset):
    """Phrases with PNG masks: a CSV file with the header ``image,mask,phrase``.

    The separator is a comma, a semicolon or a tab. Of a mask the pixels that are not black count.
    Masks of one phrase of an image are united, as of categories in a COCO file. Training and evaluation are those of
    :class:`~lira_plugin.datasets.phrase_masks.PhraseMaskDataset`. A record is called by its position, which counts from 0
    without the header.

    Args:
        ann_file: the CSV file.
        image_root: folder that images are relative to; None is the folder of the CSV file.
        mask_root: the same for masks.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        source: name of the data set and split; metrics group by it.
        num_expressions: most phrases a record when training; None for evaluation.
        seed: seed of the random choices.
        on_bad_record: ``raise``, or ``skip`` to leave lines out that cannot be used.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        ValueError: the file has no such header, nothing can be read, or, with ``on_bad_record='raise'``, a line is not of this
            form or its mask is not there. All are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str | None = None,
        mask_root: str | None = None,
        pipeline: Pipeline | None = None,
        source: str = "csv",
        num_expressions: int | None = None,
        seed: int = 0,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, pipeline, num_expressions, seed, exif)
        self.protocol |= {"files": [ann_file], "per": "phrase"}
        report = ReaderReport(source, on_bad_record)
        header, lines = read_table(ann_file)
        columns = csv_columns(header)
        if missing := CSV_COLUMNS.keys() - columns.keys():
            raise ValueError(
                f"{ann_file} has no column for {sorted(missing)}: it has {header}; a header is image,mask,phrase"
            )
        here = os.path.dirname(ann_file)
        found = []
        for position, cells in enumerate(lines):
            try:
                found.append(_parse(cells, len(header), columns, position, (image_root or here, mask_root or here)))
            except BadRecord as error:
                report.bad(ann_file, str(position), f"record {position}", error)
        self._take(unite_phrases(found), ann_file, report)


def read_table(path: str) -> tuple[list[str], list[list[str]]]:
    """The header of a CSV file and its lines; blank ones are left out.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no text, empty, or cannot be read as CSV.
    """
    text = read_text(path)
    separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if line]
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file: {error}") from error
    if not lines:
        raise ValueError(f"{path} is empty; a CSV file begins with the header image,mask,phrase")
    return [name.strip() for name in lines[0]], lines[1:]


def csv_columns(header: Sequence[str]) -> dict[str, int]:
    """Index of the column of each role of :data:`CSV_COLUMNS`, as far as they are there."""
    names = [name.lower() for name in header]
    found = {role: next((name for name in known if name in names), None) for role, known in CSV_COLUMNS.items()}
    return {role: names.index(name) for role, name in found.items() if name is not None}


def _parse(
    cells: Sequence[str], width: int, columns: dict[str, int], position: int, roots: tuple[str, str]
) -> PhraseMask:
    if len(cells) != width:
        raise BadRecord(
            "it has another count of cells than the header", f"{len(cells)} and not {width}: {shown(cells)}"
        )
    image, mask, phrase = (cells[columns[role]].strip() for role in ("image", "mask", "phrase"))
    for name, text in (("image", image), ("mask", mask)):
        if not text:
            raise BadRecord(f"the cell of the {name} is blank", shown(cells), FaultKind.EMPTY_TEXT)
    try:
        check_text("phrase", phrase)
    except ValueError as error:
        raise BadRecord(str(error)) from None
    path = os.path.join(roots[1], mask)
    if not os.path.isfile(path):
        raise BadRecord("there is no mask", f"{path}; check mask_root", FaultKind.MISSING_IMAGE)
    return PhraseMask(str(position), os.path.join(roots[0], image), plain_phrase(phrase), (MaskFile(path),))
