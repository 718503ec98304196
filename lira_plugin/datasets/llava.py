"""Conversations in LLaVA's JSON layout."""

import os
import re
from typing import Any

import numpy as np

from lira_plugin.datasets.annotation_files import id_of, read_list
from lira_plugin.datasets.entries import LlavaEntry, to_entry
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline
from lira_plugin.datasets.reader_report import ReaderReport
from lira_plugin.datasets.stored_reading import Reading, read_once
from lira_plugin.registry import DATASETS
from lira_plugin.structures import Conversation, ExifRule, FaultKind, Record, Turn

IMAGE = "<image>"
"""Where LLaVA's files say that the image goes; the chat template decides it here, so it is taken out."""
_OTHER_INPUT = re.compile(r"<(images?|videos?|audios?|speech|sound)[-_]?\d*>", re.IGNORECASE)
"""Where files of other models say that a further input goes."""


@DATASETS.register_module()
class LlavaDataset(GroundingDataset):
    """Questions and answers without regions.

    The file is a list of ``{"id": "0", "image": "a/b.jpg", "conversations": [{"from": "human", "value": "<image>\\nQ"},
    {"from": "gpt", "value": "A"}, ...]}``. Without ``image`` the record is text only. Without ``id`` the record
    is named by its position in the file.

    Args:
        ann_file: the JSON file.
        image_root: folder that ``image`` is relative to.
        pipeline: see :func:`~lira_plugin.datasets.grounding_dataset.build_pipeline`.
        source: name of the data set and split; metrics group by it.
        seed: seed of the random choices.
        on_bad_record: ``raise``, or ``skip`` to leave records out that are not of this form, with a warning.
        exif: see :class:`~lira_plugin.datasets.GroundingDataset`.

    Raises:
        ValueError: the file is not of this form, or, with ``on_bad_record='raise'``, human and gpt do not alternate (human first,
            gpt last), ``<image>`` stands elsewhere than once in the first question of a record with an image, or a record has
            another input (``images``, ``video``, ``<video>``, ...). All bad records of the file are named at once.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        pipeline: Pipeline | None = None,
        source: str = "llava",
        seed: int = 0,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, pipeline, seed, exif)
        self.protocol["files"] = [ann_file]
        report = ReaderReport(source, on_bad_record)
        settings = {"image_root": os.fspath(image_root)}
        self._records = read_once(
            self, [ann_file], settings, report, lambda: self._parse(ann_file, image_root, report)
        ).records
        self.findings = report.finish()
        if not self._records:
            raise report.nothing_left(ann_file)

    def _parse(self, ann_file: str, image_root: str, report: ReaderReport) -> Reading:
        records = []
        for position, entry in enumerate(read_list(ann_file, "a LLaVA file")):
            record_id = id_of(entry, position, "id")
            try:
                image, turns = parse_llava(entry)
            except BadRecord as error:
                report.bad(ann_file, record_id, f"record {record_id} (position {position})", error)
                continue
            path = None if image is None else os.path.join(image_root, image)
            records.append(Record(self.source, record_id, path, Conversation(turns), exif=self.exif))
        return Reading(records)

    def __len__(self) -> int:
        return len(self._records)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``; nothing is random."""
        return self._records[index]


def parse_llava(value: Any) -> tuple[str | None, tuple[Turn, ...]]:
    """Turn one entry of the file into the name of its image, or None, and its turns.

    Raises:
        BadRecord: the entry is not of LLaVA's form; the message is without file and record.
    """
    entry = to_entry(value, LlavaEntry)
    messages = entry.conversations
    if not messages or len(messages) % 2:
        raise BadRecord(
            "'conversations' must be a list of pairs of a human question and a gpt answer",
            f"got {len(messages)} messages",
        )
    texts = []
    for index, message in enumerate(messages):
        speaker = ("human", "gpt")[index % 2]
        if message.speaker != speaker:
            raise BadRecord(f"message {index} must be from {speaker!r}", f"got {message.speaker!r}")
        count = message.value.count(IMAGE)
        allowed = 1 if index == 0 and entry.image is not None else 0
        if count > allowed:
            raise BadRecord(
                f"message {index} holds {count} times {IMAGE!r}",
                "it may stand once, in the first question of a record with an image (this one has "
                f"{'no image' if entry.image is None else 'one'})",
                FaultKind.OTHER_INPUT,
            )
        other = _OTHER_INPUT.search(message.value.replace(IMAGE, "")) if speaker == "human" else None
        if other:
            asks = f"message {index} asks about an input that a record cannot have"
            raise BadRecord(asks, repr(other.group()), FaultKind.OTHER_INPUT)
        texts.append(message.value.replace(IMAGE, "").strip() if count else message.value)
    return entry.image, tuple(Turn(question, answer) for question, answer in zip(texts[::2], texts[1::2]))
