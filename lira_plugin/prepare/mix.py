"""The paper's mixture: question sets are drawn into one LLaVA file, and what recipes read as it is is counted."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lira_plugin.prepare.official_entries import ConversionNotes, FoundFiles
from lira_plugin.prepare.official_sets import QUESTION_SETS, MissingFiles, OfficialSet
from lira_plugin.prepare.region_sets import REGION_SETS, RegionSet
from lira_plugin.prepare.sampling import draw_records, name_records
from lira_plugin.written_aside import json_line, written_aside

SETS = {known.name: known for known in (*QUESTION_SETS, *REGION_SETS)}
"""All sets by name, in the order of Table 1."""
QUESTIONS = "vqa/stage2.json"
IMAGES = "vqa/images"
"""Where recipes read them, below the folder that they call ``LIRA_DATA``."""

_SHOWN = 5
Watch = Callable[[Iterable, str], Iterable]


@dataclass(frozen=True)
class MixedSet:
    """What became of a set: a line of Table 1.

    Args:
        name, title, group, licence, address: of the set.
        found: records that it holds for training; None where it is not there.
        wanted: samples in Table 1, None where only the total of the group is known.
        written: samples of an epoch: those written, or, of a set that is read as it is, records times repeats.
        missing: files that are not there.
        remarks: what was left out, and why.
    """

    name: str
    title: str
    group: str
    licence: str
    address: str
    found: int | None
    wanted: int | None
    written: int
    missing: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class SetsMissing(FileNotFoundError):
    """Sets that are not there, with what is missing and where to get it."""

    def __init__(self, sets: Sequence[MixedSet]) -> None:
        lines = []
        for missing in sets:
            lines.append(f"  {missing.title} ({missing.name}): get it at {missing.address}")
            lines += [f"    there is no {path}" for path in missing.missing]
        super().__init__(
            f"{len(sets)} of the sets are not there:\n"
            + "\n".join(lines)
            + "\nGet them, name the others with --sets, or "
            "leave them out with --allow-missing"
        )
        self.sets = tuple(sets)

    def __reduce__(self) -> tuple:
        return SetsMissing, (self.sets,)


@dataclass(frozen=True)
class MixOptions:
    """How sets are drawn.

    Args:
        seed: of the draw.
        allow_missing: leave sets out that are not there.
        skip_bad: leave records out that are not of their format, and count them.
        fill: repeat the records of a set that has fewer than the paper's count.
    """

    seed: int = 0
    allow_missing: bool = False
    skip_bad: bool = False
    fill: bool = False


def select_sets(names: Sequence[str] | None) -> list[OfficialSet | RegionSet]:
    """The sets of these names, all of them without names, in the order of Table 1.

    Raises:
        ValueError: there is no set of a name.
    """
    unknown = sorted(set(names or ()) - SETS.keys())
    if unknown:
        raise ValueError(f"there are no sets {unknown}; known are {list(SETS)}")
    return [known for name, known in SETS.items() if names is None or name in names]


def write_mix(
    root: Path,
    out: Path,
    names: Sequence[str] | None = None,
    options: MixOptions = MixOptions(),  # noqa: B008  (frozen)
    watch: Watch = lambda records, title: records,
) -> list[MixedSet]:
    """Draw the question sets below ``root`` into ``out/vqa/stage2.json`` and count the other sets below ``out``.

    ``out/vqa/images`` becomes a link to ``root``, so that the recipes find the images.

    Args:
        root: folder of the official files, laid out as ``official_sets`` says.
        out: folder that recipes read.
        names: sets to take, all of them without.
        options: how.
        watch: wraps the records of a set to show progress.

    Raises:
        SetsMissing: sets are not there, or, with ``allow_missing``, none of the question sets is.
        FileExistsError: ``out/vqa/images`` is something else.
        ValueError: a file is not the official one, or holds records that are not of its format.
    """
    selected = select_sets(names)
    found = {known.name: _find(known, root, out) for known in selected}
    missing = [
        _missing_line(known, found[known.name]) for known in selected if isinstance(found[known.name], MissingFiles)
    ]
    present = [known for known in selected if not isinstance(found[known.name], MissingFiles)]
    has_questions = any(isinstance(known, OfficialSet) for known in present)
    if missing and not (options.allow_missing and has_questions):
        raise SetsMissing(missing)
    lines = {line.name: line for line in missing}
    if has_questions:
        link_images(root, out / IMAGES)
        with written_aside(out / QUESTIONS) as unfinished, unfinished.open("w", encoding="utf-8") as file:
            writer = _ListWriter(file)
            for known in present:
                if isinstance(known, OfficialSet):
                    lines[known.name] = _mix_one(known, found[known.name], writer, options, watch)
            writer.close()
    for known in present:
        if isinstance(known, RegionSet):
            count = known.counts(found[known.name])["records"]
            lines[known.name] = _line(known, count, count * known.repeats)
    return [lines[known.name] for known in selected]


def link_images(root: Path, link: Path) -> None:
    """Make a link to the root of the images where recipes look for it, unless it is there.

    Raises:
        FileExistsError: something else is there.
    """
    if link.is_symlink() or link.exists():
        if not link.exists() or not link.samefile(root):
            raise FileExistsError(
                f"{link} is there and is not {root}, which the images of the questions are relative to; remove it, or give "
                f"the folder that it stands for as the root"
            )
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    os.symlink(root.resolve(), link, target_is_directory=True)


class _ListWriter:
    """Writes a JSON list to a file, a line for each record, as they come."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._next = file, "[\n"

    def write(self, record: dict) -> None:
        self._file.write(self._next + json_line(record))
        self._next = ",\n"

    def close(self) -> None:
        self._file.write("\n]\n")


def _find(known: OfficialSet | RegionSet, root: Path, out: Path) -> FoundFiles | Path | MissingFiles:
    try:
        return known.find(root if isinstance(known, OfficialSet) else out)
    except MissingFiles as error:
        return error


def _mix_one(known: OfficialSet, found: FoundFiles, writer: _ListWriter, options: MixOptions, watch: Watch) -> MixedSet:
    notes = ConversionNotes()
    records = watch(known.convert(found, notes), known.title)
    sample = draw_records(records, known.wanted, options.seed, known.name)
    if notes.bad and not options.skip_bad:
        raise ValueError(
            "\n  ".join([f"{known.title}: {len(notes.bad)} records are not of its format:", *notes.bad[:_SHOWN]])
            + "\nDownload the files again, or leave such records out with --skip-bad"
        )
    if not sample.lines:
        raise ValueError(f"{known.title} holds no training record: {dict(notes.left_out) or 'its files are empty'}")
    written = known.wanted if options.fill else len(sample.lines)
    for record in name_records(sample, known.name, written):
        writer.write(record)
    return _line(known, sample.found, written, remarks=remarks_of(notes, sample.repeated))


def remarks_of(notes: ConversionNotes, repeated: int = 0) -> tuple[str, ...]:
    """What was left out of a set and why, a text for each reason with its count."""
    remarks = [f"left out {count:,}: {reason}" for reason, count in notes.left_out.items()]
    if notes.bad:
        remarks.append(f"left out {len(notes.bad):,} that are not of the format, such as {notes.bad[0]}")
    if repeated:
        remarks.append(f"left out {repeated:,}: the same record, word for word, is there already")
    return tuple(remarks)


def _missing_line(known: OfficialSet | RegionSet, error: MissingFiles) -> MixedSet:
    return _line(known, None, 0, missing=error.paths)


def _line(
    known: OfficialSet | RegionSet,
    found: int | None,
    written: int,
    missing: tuple[str, ...] = (),
    remarks: tuple[str, ...] = (),
) -> MixedSet:
    group = known.group if isinstance(known, RegionSet) else "VQA"
    return MixedSet(
        known.name, known.title, group, known.licence, known.address, found, known.wanted, written, missing, remarks
    )
