"""Where answers are written as they come, such that nothing is lost, and nothing is written twice, however a run ends."""

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lira_plugin.inference import InferenceResult
from lira_plugin.json_file import read_json
from lira_plugin.labelling.label_inputs import LabelRecord
from lira_plugin.written_aside import UNFINISHED, json_line, remove, write_json, written_aside

_PART = 500
"""Answers of a part of a parquet output."""

_RLE = pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("image", pa.string()),
        ("question", pa.string()),
        ("size", pa.list_(pa.int32())),
        ("text", pa.string()),
        ("raw_text", pa.string()),
        ("finished", pa.bool_()),
        (
            "spans",
            pa.list_(
                pa.struct(
                    [
                        ("start", pa.int32()),
                        ("end", pa.int32()),
                        ("phrase", pa.string()),
                        ("score", pa.float64()),
                        ("coarse_score", pa.float64()),
                        ("phrase_prob", pa.float64()),
                        ("segmentation", _RLE),
                        ("coarse_segmentation", _RLE),
                    ]
                )
            ),
        ),
        ("error", pa.string()),
    ]
)
"""Of a parquet output; a line of JSON Lines has the same fields."""


def label_entry(record: LabelRecord, result: InferenceResult) -> dict[str, Any]:
    """What is written of a record: its answer, or its error."""
    said = result.answer.to_json()
    return {
        "id": record.record_id,
        "image": record.name,
        "question": record.question,
        "size": None if result.image is None else [int(side) for side in result.image.shape[:2]],
        **{name: said[name] for name in ("text", "raw_text", "finished", "spans")},
        "error": result.error or None,
    }


class LabelOutput:
    """An output that one process writes at a time; an earlier run is gone on with.

    Args:
        path: ``.jsonl`` file, or the folder of a parquet output.
        run: what the answers depend on, such as model and settings. An output goes on with its own alone.

    Raises:
        BlockingIOError: another process writes it.
        ValueError: it is of another run, or something else.
    """

    def __init__(self, path: str | Path, run: dict[str, Any]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._beside = self.path.with_name(self.path.name + ".run.json")
        self._lock = self.path.with_name(self.path.name + ".lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise BlockingIOError(f"another process writes {path}: wait for it, or end it") from None
        try:
            self._check_run(run)
            self.done = self._read_done()
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> "LabelOutput":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        finally:
            self._lock.close()

    def add(self, entry: dict[str, Any]) -> None:
        """Write an entry.

        Raises:
            OSError: it cannot be written, as on a full disk; what was written before is whole.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Write what is left."""
        raise NotImplementedError

    def _read_done(self) -> set[str]:
        """Ids of the records that an earlier run has written."""
        raise NotImplementedError

    def _check_run(self, run: dict[str, Any]) -> None:
        run = json.loads(json.dumps(run, default=str))
        if not self._beside.exists():
            if self.path.exists():
                raise ValueError(f"{self.path} is there already, and not by this command: choose another name")
            write_json(self._beside, run, indent=1)
            return
        former = read_json(self._beside)
        if former != run:
            differ = sorted(name for name in {*former, *run} if former.get(name) != run.get(name))
            said = ", ".join(f"{name} was {former.get(name)!r:.60} and is {run.get(name)!r:.60}" for name in differ)
            raise ValueError(
                f"{self.path} is of another run ({said}): choose another name, or remove it and {self._beside}"
            )


class JsonLinesOutput(LabelOutput):
    """A line for each record; a line that a killed process left incomplete is cut off."""

    def _read_done(self) -> set[str]:
        self._file = self.path.open("a+b")
        self._file.seek(0)
        done, end = set(), 0
        for index, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                done.add(json.loads(line)["id"])
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"{self.path}, line {index} is no entry of this command: {line[:80]!r}") from None
            end += len(line)
        self._file.truncate(end)
        self._end = end
        return done

    def add(self, entry: dict[str, Any]) -> None:
        """Write a line; see :meth:`LabelOutput.add`."""
        line = json_line(entry).encode() + b"\n"
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            self._give_up()
            raise type(error)(error.errno, f"{self.path} could not be written: {error.strerror or error}") from error
        self._end += len(line)
        self.done.add(entry["id"])

    def close(self) -> None:
        """Make sure that all is on the disk."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def _give_up(self) -> None:
        """Cut off what was written of a line."""
        descriptor = os.dup(self._file.fileno())
        try:
            self._file.close()
        except OSError:  # it tries to write the rest once more
            pass
        finally:
            os.ftruncate(descriptor, self._end)
            os.close(descriptor)


class ParquetOutput(LabelOutput):
    """A folder of parquet files, each of some hundred records and written aside; an end by force loses those of the last one."""

    def _read_done(self) -> set[str]:
        self.path.mkdir(exist_ok=True)
        self._waiting: list[dict[str, Any]] = []
        for unfinished in self.path.glob("*" + UNFINISHED):
            remove(unfinished)
        parts = sorted(self.path.glob("part-*.parquet"))
        self._index = 1 + max((int(part.stem.removeprefix("part-")) for part in parts), default=0)
        return {record_id for part in parts for record_id in pq.read_table(part, columns=["id"])["id"].to_pylist()}

    def add(self, entry: dict[str, Any]) -> None:
        """Keep an entry until a part is full; see :meth:`LabelOutput.add`."""
        self._waiting.append(entry)
        self.done.add(entry["id"])
        if len(self._waiting) >= _PART:
            self._write()

    def close(self) -> None:
        """Write the last part."""
        if self._waiting:
            self._write()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []  # what cannot be written now is asked again by the next run
        table = pa.Table.from_pylist(waiting, SCHEMA)
        with written_aside(self.path / f"part-{self._index:06d}.parquet") as unfinished:
            pq.write_table(table, unfinished, compression="zstd")
        self._index += 1


def open_output(path: str | Path, run: dict[str, Any]) -> LabelOutput:
    """The output of a path by its ending: ``.jsonl``, or ``.parquet`` for a folder of parquet files.

    Raises:
        ValueError: it ends otherwise, or see :class:`LabelOutput`.
    """
    kinds = {".jsonl": JsonLinesOutput, ".parquet": ParquetOutput}
    suffix = Path(path).suffix
    if suffix not in kinds:
        raise ValueError(f"{path} must end with .jsonl or .parquet")
    return kinds[suffix](path, run)
