"""Answers all records of an input that have no answer yet."""

import logging
import sys
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

from mmengine.logging import print_log
from tqdm import tqdm

from lira_plugin.inference import InferenceResult, LIRAInferencer
from lira_plugin.labelling.label_inputs import LabelInput, LabelRecord
from lira_plugin.labelling.label_outputs import LabelOutput, label_entry
from lira_plugin.models.generation import Request
from lira_plugin.structures import GroundedText, GroundingSample

_TOGETHER = 8
"""Records that are encoded at a time."""
_SECONDS = 10
"""Between two lines of progress, where the output is no terminal."""


class Labeller:
    """Answers records, whatever is wrong with some of them.

    A record that cannot be asked is a result with an error. Where a batch fails, as for want of memory, each of its records is
    asked anew, alone; one that fails again is a result with an error.

    Args:
        lira: the model.
        force: the answer to ``Please segment X.`` is ``X`` with its mask, whatever the model would say.
        settings: of generation, see :meth:`~lira_plugin.inference.LIRAInferencer.iterate`.
    """

    def __init__(self, lira: LIRAInferencer, force: bool = False, **settings: Any) -> None:
        self.lira, self.force = lira, force
        self.generator = lira.model.generator(**settings)
        self._asked: dict[int, tuple[LabelRecord, GroundingSample]] = {}  # by index of the request
        self._failed: list[tuple[LabelRecord, InferenceResult]] = []

    def results(self, records: Iterable[LabelRecord]) -> Iterator[tuple[LabelRecord, InferenceResult]]:
        """Each record with its result, as soon as it is there, not in order."""
        records = iter(records)
        while True:
            try:
                yield from self._batch(records)
                return
            except Exception as error:
                if not self._asked:
                    raise
                said = f"a batch failed, its records are asked one by one:\n{_trace(error)}"
                print_log(said, logger="current", level=logging.WARNING)
            yield from self._unanswerable()
            for record in [record for record, _ in self._asked.values()]:
                self._asked.clear()
                try:
                    yield from self._batch(iter([record]))
                except Exception as error:
                    yield record, _error(record, f"{type(error).__name__}: {error}")
            self._asked.clear()

    def _batch(self, records: Iterator[LabelRecord]) -> Iterator[tuple[LabelRecord, InferenceResult]]:
        for index, answer in self.generator.answers(self._requests(records)):
            record, sample = self._asked.pop(index)
            yield record, InferenceResult(record.index, record.name, record.question, answer, sample.image)
            yield from self._unanswerable()
        yield from self._unanswerable()

    def _unanswerable(self) -> Iterator[tuple[LabelRecord, InferenceResult]]:
        while self._failed:
            yield self._failed.pop()

    def _requests(self, records: Iterator[LabelRecord]) -> Iterator[Request]:
        index, loaded = 0, []
        for record in records:
            try:
                sample = self.lira.sample(
                    record.prompt(), ilvc=self.generator.decoding.ilvc, force=self.force, index=record.index
                )
            except Exception as error:  # whatever is wrong with it, the others go on
                known = isinstance(error, OSError | ValueError)
                message = str(error) if known else f"{type(error).__name__}: {error}"
                self._failed.append((record, _error(record, message)))
                continue
            self._asked[index] = record, sample
            loaded.append(sample)
            index += 1
            if len(loaded) == _TOGETHER:
                yield from self.lira.requests(loaded)
                loaded = []
        if loaded:
            yield from self.lira.requests(loaded)


def label(labeller: Labeller, records: LabelInput, output: LabelOutput, show_progress: bool = True) -> tuple[int, int]:
    """Answer the records that the output has not got yet; see :func:`write_entries`."""
    results = labeller.results(records_left(records, output))
    return write_entries((label_entry(*result) for result in results), records.length, output, show_progress)


def records_left(records: LabelInput, output: LabelOutput) -> Iterator[LabelRecord]:
    """The records that an output has not got yet."""
    return (record for record in records if record.record_id not in output.done)


def write_entries(
    entries: Iterable[dict[str, Any]], total: int, output: LabelOutput, show_progress: bool = True
) -> tuple[int, int]:
    """Write entries as they come, each record once.

    Args:
        entries: of the records.
        total: count of all records, those that the output has already among them.
        output: where to.
        show_progress: show rate and time left.

    Returns:
        Count of the records that were written now, and of those among them that have an error.

    Raises:
        OSError: the output cannot be written; what was written before is whole.
    """
    count = errors = 0
    interval = 0.5 if sys.stderr.isatty() else _SECONDS
    bar = tqdm(
        total=total, initial=len(output.done), unit="record", desc="labels", disable=not show_progress,
        mininterval=interval, maxinterval=_SECONDS,
    )  # fmt: skip
    with bar:
        for entry in entries:
            if entry["id"] in output.done:  # an actor may have died between its answer and the news of it
                continue
            output.add(entry)
            count += 1
            errors += bool(entry["error"])
            bar.update()
    return count, errors


def _error(record: LabelRecord, message: str) -> InferenceResult:
    return InferenceResult(record.index, record.name, record.question, GroundedText("", finished=False), None, message)


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))
