"""ScienceQA: ``problems.json`` and the ids of each split in ``pid_splits.json``."""

import os
from typing import Any

import msgspec

from lira_plugin.datasets.annotation_files import read_annotations
from lira_plugin.datasets.choice_dataset import ChoiceDataset, choice_truth
from lira_plugin.datasets.entries import Entry, to_entry
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.registry import DATASETS
from lira_plugin.structures import ExifRule, FaultKind, Record, shown


class Problem(Entry):
    """A problem; its lecture and solution are not used. ``answer`` counts from 0, ``context`` is its "hint"."""

    question: str
    choices: list[str]
    answer: int
    context: str = msgspec.field(name="hint")
    image: str | None


@DATASETS.register_module()
class ScienceQADataset(ChoiceDataset):
    """Multiple-choice questions of ScienceQA, with a picture or without one.

    Args:
        problems: ``problems.json``, an object of problems by id.
        splits: ``pid_splits.json``, lists of ids by split.
        image_root: folder of the images of the split, ``<id>/<image>``.
        split: key of ``splits``.
        images_only: leave out problems without a picture: the subset "IMG", which the paper is tested on.
        source, ask_as, pipeline, first, on_bad_record, exif: see :class:`~lira_plugin.datasets.ChoiceDataset`.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is not of this form, there is no such split, or, with ``on_bad_record='raise'``, problems cannot be
            used or are missing. All are named at once.
    """

    def __init__(
        self,
        problems: str,
        splits: str,
        image_root: str,
        split: str = "test",
        images_only: bool = True,
        source: str = "scienceqa",
        ask_as: str = "choices",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, ask_as, pipeline, first, on_bad_record, exif)
        self.protocol |= {"files": [problems, splits], "split": split, "images_only": images_only}
        found = read_annotations(problems)
        if not isinstance(found, dict):
            raise ValueError(f"{problems} is not ScienceQA's file: it must hold problems by id, got {shown(found)}")

        def parse(name: str, value: Any) -> Record | None:
            if value is None:
                raise BadRecord(
                    f"{problems} has no such problem", f"the id {name!r} of the split {split!r}", FaultKind.UNKNOWN_ID
                )
            entry = to_entry(value, Problem)
            if entry.image is None and images_only:
                return None
            image = os.path.join(image_root, name, entry.image) if entry.image else None
            truth = choice_truth(entry.question, entry.choices, entry.answer, "image" if image else "text")
            return self.ask_choice(name, image, truth, entry.context)

        self.read(splits, [(name, found.get(name)) for name in _ids(splits, split)], parse)
        self.finish(splits)


def _ids(path: str, split: str) -> list[str]:
    """The ids of a split's problems."""
    splits = read_annotations(path)
    if not isinstance(splits, dict) or split not in splits:
        names = sorted(map(str, splits)) if isinstance(splits, dict) else shown(splits)
        raise ValueError(f"{path} has no split {split!r}, but {names}; set split")
    ids = splits[split]
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise ValueError(f"{path}: {split!r} must be a list of ids, which are texts, got {shown(ids)}")
    return ids
