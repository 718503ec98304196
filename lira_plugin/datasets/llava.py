"""Conversations in LLaVA's JSON layout."""

import os
from typing import Any

import numpy as np

from lira_plugin.datasets.annotation_files import read_annotations
from lira_plugin.datasets.grounding_dataset import GroundingDataset, Pipeline, log_skipped
from lira_plugin.registry import DATASETS
from lira_plugin.structures import Conversation, ExifRule, Record, Turn

IMAGE = "<image>"
"""Where LLaVA's files say that the image goes; the chat template decides it here, so it is taken out."""


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
            gpt last), or ``<image>`` stands elsewhere than once in the first question of a record with an image.
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
        if on_bad_record not in ("raise", "skip"):
            raise ValueError(f"on_bad_record must be 'raise' or 'skip', got {on_bad_record!r}")
        super().__init__(source, pipeline, seed, exif)
        entries = read_annotations(ann_file)
        if not isinstance(entries, list) or not entries:
            raise ValueError(f"{ann_file} is not a LLaVA file: it must hold a list of records, and at least one")
        self._records, skipped = [], []
        for position, entry in enumerate(entries):
            record_id = str(entry.get("id", position)) if isinstance(entry, dict) else str(position)
            try:
                image, turns = parse_llava(entry)
            except ValueError as error:
                if on_bad_record == "raise":
                    raise ValueError(
                        f"{ann_file}: record {record_id} (position {position}): {error}. Repair the record, or leave such "
                        "records out with on_bad_record='skip'"
                    ) from error
                skipped.append(f"{record_id}: {error}")
                continue
            path = None if image is None else os.path.join(image_root, image)
            self._records.append(Record(source, record_id, path, Conversation(turns), exif=exif))
        log_skipped(source, ann_file, {"not of LLaVA's form": skipped})
        if not self._records:
            raise ValueError(f"{ann_file} holds no record that can be used: all {len(skipped)} are not of LLaVA's form")

    def __len__(self) -> int:
        return len(self._records)

    def get_record(self, index: int, rng: np.random.Generator) -> Record:
        """The record at ``index``; nothing is random."""
        return self._records[index]


def parse_llava(entry: Any) -> tuple[str | None, tuple[Turn, ...]]:
    """Turn one entry of the file into the name of its image, or None, and its turns.

    Raises:
        ValueError: the entry is not of LLaVA's form; the message is without file and record.
    """
    messages = entry.get("conversations") if isinstance(entry, dict) else None
    if not isinstance(messages, list) or not messages or len(messages) % 2:
        raise ValueError("'conversations' must be a list of pairs of a human question and a gpt answer")
    image = entry.get("image")
    if image is not None and not isinstance(image, str):
        raise ValueError(f"'image' must be the name of one file, got {image!r}")
    texts = []
    for index, message in enumerate(messages):
        speaker = ("human", "gpt")[index % 2]
        if not isinstance(message, dict) or message.get("from") != speaker or not isinstance(message.get("value"), str):
            raise ValueError(f"message {index} must be {{'from': '{speaker}', 'value': text}}, got {message!r}")
        count = message["value"].count(IMAGE)
        allowed = 1 if index == 0 and image is not None else 0
        if count > allowed:
            raise ValueError(
                f"message {index} holds {count} times {IMAGE!r}; it may stand once, in the first question of a record "
                f"with an image (this one has {'no image' if image is None else 'one'})"
            )
        texts.append(message["value"].replace(IMAGE, "").strip() if count else message["value"])
    return image, tuple(Turn(question, answer) for question, answer in zip(texts[::2], texts[1::2]))
