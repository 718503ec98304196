"""ScienceQA: ``problems.json`` and the ids of each split in ``pid_splits.json``."""

from collections.abc import Iterator
from functools import partial

import msgspec

from lira_plugin.datasets.scienceqa_questions import Problem
from lira_plugin.prepare.official_entries import (
    ConversionNotes,
    FoundFiles,
    Id,
    Record,
    convert_each,
    question_record,
    read_official,
)
from lira_plugin.structures.question_prompts import choice_letter, choice_question


def convert_scienceqa(found: FoundFiles, notes: ConversionNotes) -> Iterator[Record]:
    """The letter of the answer to the problems of the training split; a problem without an image becomes text only.

    Raises:
        ValueError: a file is not of its format, or a problem of the split is missing.
    """
    path, splits_path = found.one("problems"), found.one("splits")
    problems = read_official(path, dict[str, msgspec.Raw])
    splits = read_official(splits_path, dict[str, list[str]])
    if "train" not in splits:
        raise ValueError(f"{splits_path} has no split 'train', but {sorted(splits)}; download the official file again")
    missing = [pid for pid in splits["train"] if pid not in problems]
    if missing:
        raise ValueError(
            f"{path} lacks {len(missing)} problems of the split 'train' of {splits_path}, such as {missing[0]!r}: the two "
            "files do not belong together"
        )
    notes.counts["problems of all splits"] = len(problems)

    def parse(pid: Id, entry: Problem) -> list[Record]:
        letter = choice_letter(entry.answer, len(entry.choices))
        image = None if entry.image is None else f"{found.images['images']}/{pid}/{entry.image}"
        ask = partial(choice_question, choices=entry.choices, context=entry.context.strip())
        return [question_record(pid, image, entry.question, letter, ask)]

    return convert_each(path, ((pid, problems[pid]) for pid in splits["train"]), Problem, parse, notes)
