"""The fine-tune layout of Sa2VA: images with phrases and their polygons."""

import os
from collections.abc import Iterator
from typing import Any

from lira_plugin.datasets.annotation_files import read_list
from lira_plugin.datasets.entries import Entry, FileName, check_segmentation, check_text, to_entry
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.datasets.phrase_masks import PhraseMask, PhraseMaskDataset, plain_phrase
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.registry import DATASETS
from lira_plugin.structures import ExifRule, FaultKind


class _Sa2vaEntry(Entry):
    """An image; ``mask[i]`` are the polygons of ``text[i]``."""

    image: FileName
    mask: list[Any]
    text: list[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        for index, mask in enumerate(self.mask):
            check_segmentation(f"mask[{index}]", mask)
        for index, text in enumerate(self.text):
            check_text(f"text[{index}]", text)


@DATASETS.register_module()
class Sa2vaDataset(PhraseMaskDataset):
    """Phrases with polygons: ``[{"image": "a.jpg", "mask": [[[x, y, ...], ...], ...], "text": [phrase, ...]}, ...]``.

    ``mask[i]`` are the polygons of ``text[i]``, united; RLEs are read as well. Training and evaluation are those of
    :class:`~lira_plugin.datasets.phrase_masks.PhraseMaskDataset`. A record is called by its position in the file and the index of
    the phrase, such as ``3-0``.

    Args:
        ann_file: the JSON file.
        image_root: folder that ``image`` is relative to.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        source: name of the data set and split; metrics group by it.
        num_expressions: most phrases a record when training; None for evaluation.
        seed: seed of the random choices.
        on_bad_record: ``raise``, or ``skip`` to leave entries out that are not of this form.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        ValueError: nothing can be read, or, with ``on_bad_record='raise'``, an entry is not of this form. All are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        pipeline: Pipeline | None = None,
        source: str = "sa2va",
        num_expressions: int | None = None,
        seed: int = 0,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, pipeline, num_expressions, seed, exif)
        self.protocol |= {"files": [ann_file], "per": "sentence"}
        report = ReaderReport(source, on_bad_record)
        found: list[PhraseMask] = []
        for position, value in enumerate(read_list(ann_file, "a fine-tune file of Sa2VA")):
            try:
                found += _parse(value, position, str(image_root))
            except BadRecord as error:
                report.bad(ann_file, str(position), f"record {position} (position {position})", error)
        self._take(found, ann_file, report)


def _parse(value: Any, position: int, image_root: str) -> Iterator[PhraseMask]:
    entry = to_entry(value, _Sa2vaEntry)
    if len(entry.mask) != len(entry.text):
        raise BadRecord(
            "'mask' and 'text' are not of one length",
            f"{len(entry.mask)} masks, {len(entry.text)} phrases",
            FaultKind.SEG_MASK_MISMATCH,
        )
    path = os.path.join(image_root, entry.image)
    return (
        PhraseMask(f"{position}-{index}", path, plain_phrase(text), (mask,))
        for index, (mask, text) in enumerate(zip(entry.mask, entry.text))
    )
