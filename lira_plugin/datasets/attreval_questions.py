"""AttrEval-VQA: questions in pairs, one to be answered by yes and one by no, in JSON Lines."""

import os
from collections import Counter
from typing import Any

from lira_plugin.datasets.answer_dataset import AnswerDataset
from lira_plugin.datasets.entries import Entry, FileName, Id, to_entry
from lira_plugin.datasets.findings import BadRecord
from lira_plugin.datasets.grounding_dataset import Pipeline
from lira_plugin.datasets.question_lines import read_lines
from lira_plugin.registry import DATASETS
from lira_plugin.structures import ATTRIBUTE_KINDS, AnswerTruth, ExifRule, FaultKind, Record


class AttrLine(Entry):
    """A question of AttrEval's; the official file has ``answer`` or ``annotation``, and no ``attribute``."""

    question: str
    image: FileName
    question_id: Id | None = None
    answer: str | None = None
    annotation: str | None = None
    attribute: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.attribute is not None:
            check_kind("attribute", self.attribute)


def check_kind(key: str, value: str) -> None:
    """Refuse what is no kind of attribute.

    Raises:
        ValueError: it is none; the message names the key.
    """
    if value not in ATTRIBUTE_KINDS:
        raise ValueError(f"{key!r} must be one of {', '.join(ATTRIBUTE_KINDS)}: got {value!r}")


@DATASETS.register_module()
class AttrVqaDataset(AnswerDataset):
    """Pairs of yes-or-no questions about an attribute of an object, as LIRA publishes them (``refcoco_attri.jsonl``).

    A line is ``{"image": "a.jpg", "question": "Is the front guy in red? Please answer yes or no.", "question_id": 1, "answer":
    "yes"}``; ``annotation`` stands for ``answer`` as well. Blank lines are passed over. The lines with the indices 2i and 2i + 1
    are a pair, from 0. The kind ``attribute``, which ``tools/build_attreval.py`` writes, gets figures of its own.

    A line is called by its ``question_id``; where several have the same, its index, from 0, is added.

    Args:
        ann_file: the JSON Lines file.
        image_root: folder that ``image`` is relative to.
        prompt: how questions are asked, see :func:`~lira_plugin.structures.question_prompts.build_prompt`.
        first: ask only so many questions, an even count.
        source, pipeline, on_bad_record, exif: see :class:`~lira_plugin.datasets.AnswerDataset`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: ``first`` is odd, nothing can be used, or, with ``on_bad_record='raise'``, lines are not of this form or have
            no partner. All are named at once. With ``skip`` the partner of a line that is left out is left out, too.
    """

    def __init__(
        self,
        ann_file: str,
        image_root: str,
        source: str = "attreval/vqa",
        prompt: str = "plain",
        pipeline: Pipeline | None = None,
        first: int | None = None,
        on_bad_record: str = "raise",
        exif: ExifRule = "apply",
    ) -> None:
        super().__init__(source, prompt, pipeline, first, on_bad_record, exif)
        if first is not None and first % 2:
            raise ValueError(f"{source}: questions come in pairs, so first must be even, got {first}")
        self.protocol["files"] = [ann_file]
        lines = read_lines(ann_file, "question_id")
        times = Counter(name for name, _ in lines)
        names = [name if times[name] == 1 else f"{name}-{index}" for index, (name, _) in enumerate(lines)]
        entries = [(name, (index, value)) for index, (name, (_, value)) in enumerate(zip(names, lines))]

        def parse(name: str, indexed: tuple[int, Any]) -> Record:
            index, value = indexed
            entry = to_entry(value, AttrLine)
            label = entry.annotation if entry.answer is None else entry.answer
            if label is None or label.strip().lower() not in ("yes", "no"):
                raise BadRecord("'answer' must be 'yes' or 'no'", f"got {label!r}")
            if index == len(entries) - 1 and index % 2 == 0:
                raise BadRecord("the last line has no partner", f"{len(entries)} lines, which must be pairs")
            truth = AnswerTruth(
                label=label.strip().lower(),
                category=entry.attribute or "",
                group=str(index // 2),
                question=entry.question,
            )
            return self.ask(name, os.path.join(image_root, entry.image), entry.question, truth, truth.label)

        self.read(ann_file, entries, parse)
        self._leave_single_ones_out(ann_file)
        self.finish(ann_file)

    def _leave_single_ones_out(self, path: str) -> None:
        sizes = Counter(record.truth.group for record in self.records)
        for record in self.records:
            if sizes[record.truth.group] != 2:
                self.report.left_out(path, record.record_id, "its partner cannot be used", kind=FaultKind.BY_RULE)
        self.records = [record for record in self.records if sizes[record.truth.group] == 2]
