"""Parquet tables of referring expressions with masks, as RefCOCO and its kin are exported to the Hugging Face hub."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lira_plugin.datasets.entries import check_text
from lira_plugin.datasets.findings import BadRecord, NoRecords
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.datasets.mask_values import to_segmentation
from lira_plugin.datasets.parquet_columns import Columns, find_tables, same_columns
from lira_plugin.datasets.parquet_images import extracted_images
from lira_plugin.datasets.phrase_masks import PhraseMask, PhraseMaskDataset, plain_phrase
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.datasets.refer import SentenceRule
from lira_plugin.json_file import parse_json
from lira_plugin.registry import DATASETS
from lira_plugin.structures import ExifRule, FaultKind, shown

_TOGETHER = 256
"""Records whose columns, without images, are in memory together."""
_SENTENCE_KEYS = ("sent", "sentence", "raw", "text")


@DATASETS.register_module()
class ParquetPhraseDataset(PhraseMaskDataset):
    """Phrases with masks from parquet tables, with the images in them or beside them.

    A record of a table is an object with a list of sentences, or with one sentence, or an image with a list of objects
    (``samples``). Columns are told by their names (:data:`~lira_plugin.datasets.parquet_columns.ROLES`): ``image`` (bytes) or
    ``image_path``/``file_name`` (below ``image_root``); ``sentences``, ``sentence``, ``text``, ...; ``mask``, ``segmentation``
    or ``raw_anns``. A mask is an RLE or polygons, also as JSON text, PNG bytes, or lines of
    pixels (true and false, 0 and 1, 0 and 255).

    Scores per sentence and per object are not comparable, and exported sets come as both: RefCOCO's ``val`` once per object,
    ``val_all`` once per sentence. ``per="object"`` keeps the first sentence of each object. The protocol has ``per``, which is
    ``object`` also where the table has one sentence an object, and the counts of both. An object is a ``ref_id`` or ``ann_id`` of
    an image, else a mask of an image.

    Images in a table are written to files once (:mod:`~lira_plugin.datasets.parquet_images`). Tables are read a few records at a
    time. Training and evaluation are those of :class:`~lira_plugin.datasets.phrase_masks.PhraseMaskDataset`. A record is called
    by its position in the table and the index of the sentence, such as ``3-0``, behind the table's name where there are several.

    Args:
        ann_file: a parquet file, or a folder of them.
        image_root: folder that names of images are relative to.
        split: those of the files whose names begin so (``val-00000-of-00001.parquet``), else the records whose column ``split``
            says so; None takes all.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        source: name of the data set and split; metrics group by it.
        num_expressions: most phrases a record when training; None for evaluation.
        per: ``sentence`` or ``object``: what is evaluated once.
        columns: names of columns by role (``image``, ``phrase``, ``mask``), where they are not found.
        image_cache: folder for the images of tables; None takes the table's.
        seed: seed of the random choices.
        on_bad_record: ``raise``, or ``skip`` to leave records out that cannot be used.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        FileNotFoundError: there is no table.
        ValueError: a column is not found, ``per='object'`` is set for a training, nothing can be read, or, with
            ``on_bad_record='raise'``, a record cannot be used. All are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str | None = None,
        split: str | None = None,
        pipeline: Pipeline | None = None,
        source: str = "parquet",
        num_expressions: int | None = None,
        per: SentenceRule = "sentence",
        columns: Mapping[str, str] | None = None,
        image_cache: str | None = None,
        seed: int = 0,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        if per == "object" and num_expressions is not None:
            raise ValueError(
                f"per='object' is for evaluation, but num_expressions={num_expressions}: leave one of them out"
            )
        super().__init__(source, pipeline, num_expressions, seed, exif)
        report = ReaderReport(source, on_bad_record)
        tables, named = find_tables(str(ann_file), split)
        self.columns = same_columns(tables, columns or {})
        if not (self.columns.has_bytes or image_root):
            raise ValueError(
                f"{ann_file} names its images ({self.columns.image!r}), but does not hold them: set image_root"
            )
        wanted = None if named else split
        if wanted is not None and "split" not in self.columns.read:
            raise ValueError(f"{ann_file} has no file of split {split!r} and no column 'split'; leave split out")
        found: list[PhraseMask] = []
        objects: set[tuple[str, str]] = set()
        kept: dict[tuple[str, str], PhraseMask] = {}
        splits: set[str] = set()
        for table in tables:
            prefix = f"{os.path.basename(table).removesuffix('.parquet')}:" if len(tables) > 1 else ""
            images = self._image_files(table, image_cache) if self.columns.has_bytes else None
            for position, value in enumerate(_records(table, self.columns)):
                splits.add(str(value.get("split")))
                if wanted is not None and value.get("split") != wanted:
                    continue
                name = f"{prefix}{position}"
                try:
                    path = _image(value, images[position] if images else None, self.columns, image_root)
                    for key, item in list(_parse(value, name, path, self.columns)):
                        objects.add((path, key))
                        found.append(item)
                        if item.phrase:
                            kept.setdefault((path, key), item)
                except BadRecord as error:
                    report.bad(table, name, f"record {position}", error)
        if wanted is not None and wanted not in splits:
            report.finish()
            raise NoRecords(
                f"{ann_file} has no record of split {split!r}; its splits are {sorted(splits)}", report.findings
            )
        sentences = sum(bool(item.phrase) for item in found)
        self.protocol |= {
            "files": tables,
            "split": split,
            "per": "object" if per == "object" or sentences == len(objects) else "sentence",
            "sentences": sentences,
            "objects": len(objects),
        }
        self._take(kept.values() if per == "object" else found, str(ann_file), report)

    def _image_files(self, table: str, image_cache: str | None) -> list[str | None]:
        """The path of the image of each record of a table that holds its images; None where it has none."""
        return extracted_images(table, self.columns.image, image_cache)


def _records(table: str, columns: Columns) -> Iterator[dict[str, Any]]:
    """The records of a table as dictionaries, without the bytes of images.

    Raises:
        ValueError: the table cannot be read.
    """
    try:
        with pq.ParquetFile(table) as file:
            for batch in file.iter_batches(_TOGETHER, columns=list(columns.read)):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise ValueError(f"{table} cannot be read (is it complete?): {error}") from error


def _image(value: dict[str, Any], extracted: str | None, columns: Columns, image_root: str | None) -> str:
    if columns.has_bytes:
        if extracted is None:
            raise BadRecord("it holds no image", f"{columns.image!r} has no bytes", FaultKind.MISSING_IMAGE)
        return extracted
    name = value[columns.image]
    if not isinstance(name, str) or not name.strip():
        raise BadRecord(f"{columns.image!r} names no image", f"got {shown(name)}")
    return os.path.join(image_root or "", name)


def _parse(value: dict[str, Any], name: str, path: str, columns: Columns) -> Iterator[tuple[str, PhraseMask]]:
    """The sentences of a record, each with what tells its object from others of the image."""
    size = _size(value)
    entries = [value] if columns.objects is None else value[columns.objects] or []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise BadRecord(f"entry {index} of {columns.objects!r} must be an object", f"got {shown(entry)}")
        own = name if columns.objects is None else f"{name}-{index}"
        segmentation = to_segmentation(entry[columns.mask])
        key = next((f"{key} {entry[key]}" for key in ("ref_id", "ann_id") if entry.get(key) is not None), None)
        if key is None:
            key = json.dumps(segmentation, default=repr)
        for turn, text in enumerate(_sentences(entry[columns.phrase], columns.phrase)):
            yield key, PhraseMask(f"{own}-{turn}", path, plain_phrase(text), (segmentation,), size)


def _sentences(value: Any, column: str) -> Iterator[str]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise BadRecord(f"{column!r} holds no sentence", kind=FaultKind.EMPTY_TEXT)
    for item in values:
        text = next((item[key] for key in _SENTENCE_KEYS if item.get(key)), None) if isinstance(item, dict) else item
        if not isinstance(text, str):
            raise BadRecord(f"{column!r} must hold texts", f"got {shown(item)}")
        try:
            check_text(column, text)
        except ValueError as error:
            raise BadRecord(str(error)) from None
        yield text


def _size(value: dict[str, Any]) -> tuple[int, int] | None:
    """(height, width) where the record says it."""
    info = value
    if isinstance(value.get("raw_image_info"), str):
        try:
            info = parse_json(value["raw_image_info"], "raw_image_info")
        except ValueError as error:
            raise BadRecord("'raw_image_info' is no JSON", str(error)) from None
    sides = [info.get(key) for key in ("height", "width")] if isinstance(info, dict) else [None, None]
    return tuple(sides) if all(isinstance(side, int) and side > 0 for side in sides) else None
