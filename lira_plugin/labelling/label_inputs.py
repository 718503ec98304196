"""What is to be labelled: a folder of images, JSON Lines, or parquet tables. Each record has an id."""

import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lira_plugin.datasets.image_file import BROKEN, IMAGE_FORMATS
from lira_plugin.datasets.json_records import parse_record
from lira_plugin.inference import Prompt

_COLUMNS = ("id", "image", "question")
_TOGETHER = 16
"""Records of a table that are in memory together."""


@dataclass(frozen=True)
class LabelRecord:
    """One question.

    Args:
        record_id: no other record has it.
        index: of the record among all.
        name: path of the image, or what its table says of it.
        image: path, or the bytes of a file; None for a question without an image.
        question: the question.
        fault: why it cannot be asked; empty where it can.
    """

    record_id: str
    index: int
    name: str = ""
    image: str | bytes | None = None
    question: str = ""
    fault: str = ""

    def prompt(self) -> Prompt:
        """The question for an inferencer.

        Raises:
            ValueError: it cannot be asked, or its image is not there.
        """
        if self.fault:
            raise ValueError(self.fault)
        if isinstance(self.image, bytes):
            try:
                opened = Image.open(io.BytesIO(self.image), "r", IMAGE_FORMATS)
            except (OSError, *BROKEN) as error:
                raise ValueError(f"its bytes cannot be read as an image ({error})") from error
            return Prompt(f"{self.record_id} {self.index}", opened, self.question)
        if self.image is not None and not os.path.isfile(self.image):
            raise ValueError(f"there is no image {self.image}")
        return Prompt(self.image or "no image", self.image, self.question)


class LabelInput:
    """The records of an input, which can be gone through again and again.

    Args:
        path: a folder of images (with all folders in it), a ``.jsonl`` file of ``{"id", "image", "question"}``, a ``.parquet``
            file with these columns, or a folder of such. Where ``id`` is missing, the path of the image, the line of the file,
            or the index in the table stands for it.
        questions: for records that have none: one, or for a folder of images also several.

    Raises:
        FileNotFoundError: there is no such input.
        ValueError: it is none of these kinds, has no record, or two records have one id, or a question is missing.
    """

    def __init__(self, path: str | Path, questions: Sequence[str] = ()) -> None:
        self.path, self.questions = Path(path), list(questions)
        if not all(question.strip() for question in self.questions):
            raise ValueError("a question must not be empty")
        self._records = self._reader()
        self.length = self._check()

    def __iter__(self) -> Iterator[LabelRecord]:
        """All records, in a fixed order."""
        for index, fields in enumerate(self._records()):
            yield LabelRecord(index=index, **fields)

    def _reader(self) -> Any:
        if not self.path.exists():
            raise FileNotFoundError(f"there is no {self.path}")
        if self.path.is_dir():
            tables = sorted(self.path.rglob("*.parquet"))
            if tables:
                return partial(_table_records, self._one_question(), self.path, tables)
            if not self.questions:
                raise ValueError(f"{self.path} is a folder of images: say with --question what to ask about each")
            return partial(_image_records, self.questions, self.path)
        if self.path.suffix == ".parquet":
            return partial(_table_records, self._one_question(), self.path.parent, [self.path])
        if self.path.suffix == ".jsonl":
            return partial(_line_records, self._one_question(), self.path)
        raise ValueError(f"{self.path} is no folder, no .jsonl and no .parquet file")

    def _one_question(self) -> str:
        if len(self.questions) > 1:
            raise ValueError(f"{self.path} takes one question for records that have none, got {len(self.questions)}")
        return self.questions[0] if self.questions else ""

    def _check(self) -> int:
        """Count the records."""
        seen: dict[str, int] = {}
        for index, fields in enumerate(self._records(ids_only=True)):
            former = seen.setdefault(fields["record_id"], index)
            if former != index:
                raise ValueError(
                    f"{self.path}: the records of index {former} and {index} have the same id {fields['record_id']!r:.80}; "
                    "each needs an id of its own"
                )
        if not seen:
            raise ValueError(f"{self.path} has no record")
        return len(seen)


Fields = dict[str, Any]


def _image_records(questions: Sequence[str], folder: Path, ids_only: bool = False) -> Iterator[Fields]:
    known = {suffix for suffix, kind in Image.registered_extensions().items() if kind in IMAGE_FORMATS}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in known or not path.is_file():
            continue
        relative = path.relative_to(folder).as_posix()
        for index, question in enumerate(questions):
            record_id = relative if len(questions) == 1 else f"{relative}#{index}"
            yield {"record_id": record_id, "name": relative, "image": str(path), "question": question}


def _line_records(question: str, path: Path, ids_only: bool = False) -> Iterator[Fields]:
    with path.open("rb") as file:
        for index, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"line {index}"
            try:
                entry = parse_record(line.decode("utf-8"))
                if not isinstance(entry, dict):
                    raise ValueError("it is no JSON object")
            except (ValueError, RecursionError) as error:
                yield {"record_id": where, "fault": f"{path}, {where} cannot be read: {error}"}
                continue
            yield _fields(entry, where, question, path.parent)


def _table_records(question: str, folder: Path, tables: Sequence[Path], ids_only: bool = False) -> Iterator[Fields]:
    for table in tables:
        try:
            with pq.ParquetFile(table) as file:
                columns = [name for name in _COLUMNS if name in file.schema_arrow.names]
                if "image" not in columns and "question" not in columns:
                    raise ValueError(f"{table} has no column image or question, only {file.schema_arrow.names}")
                if ids_only:
                    columns = [name for name in columns if name == "id"]
                name = table.relative_to(folder).as_posix()
                yield from _group_records(file, columns, name, question, folder)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{table} cannot be read: {error}") from error


def _group_records(
    file: pq.ParquetFile, columns: Sequence[str], name: str, question: str, folder: Path
) -> Iterator[Fields]:
    if not columns:  # ids alone are asked for, and there are none
        yield from ({"record_id": f"{name}:{index}"} for index in range(file.metadata.num_rows))
        return
    index = 0
    for batch in file.iter_batches(_TOGETHER, columns=list(columns), use_threads=False):
        for entry in batch.to_pylist():
            yield _fields(entry, f"{name}:{index}", question, folder)
            index += 1


def _fields(entry: Fields, where: str, question: str, folder: Path) -> Fields:
    """The fields of a record from those of a line or of a table."""
    record_id = entry.get("id")
    if isinstance(record_id, bool) or not isinstance(record_id, str | int | None):
        return {"record_id": where, "fault": f"its id must be a text or a whole number, got {record_id!r:.80}"}
    record_id = where if record_id is None else str(record_id)
    asked = entry.get("question") or question
    image, image_name = entry.get("image"), ""
    if isinstance(image, dict):  # as the library datasets stores images
        image_name, image = image.get("path") or "", image.get("bytes") or image.get("path")
    if isinstance(image, str):
        image_name, image = image, str(folder / image)
    fields = {"record_id": record_id, "name": image_name, "image": image}
    if not isinstance(asked, str) or not asked.strip():
        return {"record_id": record_id, "name": image_name, "fault": f"it has no question, but {asked!r:.80}"}
    if not isinstance(image, str | bytes | None) or image == "":
        said = json.dumps(image, default=repr)[:80]
        return {"record_id": record_id, "fault": f"its image must be a path or the bytes of a file, got {said}"}
    return {**fields, "question": asked}
