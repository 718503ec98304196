"""The base of the readers of questions whose answers are scored as words."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from lira_plugin.datasets.annotation_files import id_of
from lira_plugin.datasets.entries import check_text
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.structures import AnswerTruth, Conversation, ExifRule, FaultKind, Record, Turn
from lira_plugin.structures.question_prompts import build_prompt

IMAGE = "<image>"
"""LLaVA's placeholder of the image, which no question may hold: the chat template says where the image goes."""


class AnswerDataset(GroundingDataset):
    """Base of the readers of questions with short answers: a subclass reads one file format.

    Args:
        source: name of the data set and split; metrics group by it.
        prompt: how questions are asked, see :func:`~lira_plugin.structures.question_prompts.build_prompt`.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        first: ask only so many questions, the first of each file; None asks all.
        on_bad_record: ``raise``, or ``skip`` to leave records out that are not of the format, with a warning.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        ValueError: ``prompt`` or ``on_bad_record`` is unknown, or ``first`` is not positive.
    """

    def __init__(
        self,
        source: str,
        prompt: str = "plain",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, pipeline, exif=exif)
        if first is not None and first < 1:
            raise ValueError(f"{source}: first must be positive, or None for all questions, got {first}")
        self.first = first
        self.prompt = build_prompt(prompt)
        self.protocol |= {"prompt": self.prompt("{question}"), "first": first}
        self.report = ReaderReport(source, on_bad_record)
        self.records: list[Record] = []
        self._names: set[str] = set()

    def __len__(self) -> int:
        return len(self.records)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``; nothing is random."""
        return self.records[index]

    def read(self, path: str, entries: Iterable[tuple[str, Any]], parse: Callable[[str, Any], Record | None]) -> None:
        """Make records of the entries of a file, up to :attr:`first`; call :meth:`finish` after the last file.

        Args:
            path: of the file, for messages.
            entries: each with its id.
            parse: makes a record of an id and an entry; None leaves it out as not of the split.
        """
        for position, (name, value) in enumerate(entries):
            if self.first is not None and position >= self.first:
                break
            try:
                record = parse(name, value)
                if record is None:
                    continue
                if record.record_id in self._names:
                    raise BadRecord(
                        "its id occurs twice; ids must be unique", repr(record.record_id), FaultKind.DUPLICATE_ID
                    )
            except BadRecord as error:
                self.report.bad(path, name, f"record {name} (position {position})", error)
                continue
            self._names.add(record.record_id)
            self.records.append(record)

    def read_categories(
        self,
        ann_files: Mapping[str, str],
        entries_of: Callable[[str], Iterable[tuple[str, Any]]],
        parse: Callable[[str, str, Any], Record | None],
    ) -> None:
        """Read a file for each category, and finish.

        Args:
            ann_files: path by category.
            entries_of: gives the entries of the file at a path, each with its id.
            parse: makes a record of a category, an id and an entry; None leaves it out as not of the split.

        Raises:
            ValueError: there is no category.
            BadRecords, NoRecords: see :meth:`finish`.
        """
        if not ann_files:
            raise ValueError(
                f"{self.source}: ann_files is empty; name a file for each category, as in {{'NAME': PATH}}"
            )
        self.protocol["files"] = list(ann_files.values())
        for category, path in ann_files.items():
            self.read(path, entries_of(path), partial(parse, category))
        self.finish(", ".join(ann_files.values()))

    def finish(self, path: str) -> None:
        """Tell what was wrong with the files; ``path`` names them.

        Raises:
            BadRecords, NoRecords: entries cannot be used, see :class:`ReaderReport`.
        """
        self.findings = self.report.finish()
        if not self.records:
            raise self.report.nothing_left(path, "question")

    def ask(self, record_id: str, image: str | None, question: str, truth: AnswerTruth, answer: str = "") -> Record:
        """A record of one question.

        Args:
            record_id: unique in the data set.
            image: path of the image, or None.
            question: without the words of the prompt.
            truth: what the answer is scored by.
            answer: the true answer as the model would write it.

        Raises:
            BadRecord: a text is no Unicode, or the question is blank or holds a placeholder.
        """
        if not question.strip():
            raise BadRecord("the question is blank", repr(question), FaultKind.EMPTY_TEXT)
        for name, text in (("the question", question), ("the answer", answer)):
            try:
                check_text(name, text)
            except ValueError as error:
                raise BadRecord(str(error)) from None
        if IMAGE in question:
            raise BadRecord(
                f"the question holds {IMAGE!r}, which stands for the image", repr(question), FaultKind.OTHER_INPUT
            )
        turn = Turn(self.prompt(question.strip()), answer)
        return Record(self.source, record_id, image, Conversation((turn,)), exif=self.exif, truth=truth)


def listed(entries: Iterable[Any], *keys: str) -> Iterator[tuple[str, Any]]:
    """Entries of a list, each with the first of its ``keys`` that is an id, else its position."""
    return ((id_of(entry, position, *keys), entry) for position, entry in enumerate(entries))
