"""Make the data of a training from official files, and see whether these are complete.

    python tools/prepare_data.py mix ROOT OUT          draw the paper's mixture: OUT/vqa/stage2.json, and Table 1
    python tools/prepare_data.py verify ROOT           compare the sets with their official releases
    python tools/prepare_data.py look PATH             what is this file or folder, and how does a recipe read it?

docs/data.md says how the files are laid out below ROOT. OUT is what recipes call LIRA_DATA. The exit code is 1 if
something is not as it should be, and 2 if a set is missing, or PATH cannot be read or is of no known layout.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from lira_plugin.command_end import run_command
from lira_plugin.prepare.layouts import KINDS
from lira_plugin.prepare.look import look
from lira_plugin.prepare.mix import QUESTIONS, SETS, MixedSet, MixOptions, SetsMissing, write_mix
from lira_plugin.prepare.official_sets import QUESTION_SETS
from lira_plugin.prepare.region_sets import GROUP_TOTALS, REGION_SETS
from lira_plugin.prepare.verify import MISSING, VerifiedSet, verify_coco_images, verify_region_set, verify_set
from lira_plugin.written_aside import write_json

_SHOWN = 5


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    mix = commands.add_parser("mix", help="draw the paper's mixture")
    verify = commands.add_parser("verify", help="compare with the official releases")
    kinds = "\n".join(f"  {kind:<11}{words}" for kind, words in KINDS.items())
    looked = commands.add_parser(
        "look",
        help="tell the layout of a file or folder",
        description=f"Tell what a file or folder is by what it holds. Kinds:\n\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    looked.add_argument("path", type=Path, help="file or folder")
    looked.add_argument("--json", type=Path, help="write all of it there")
    for command in (mix, verify):
        command.add_argument("root", type=Path, help="folder of the official files")
    mix.add_argument("out", type=Path, help="folder that recipes read (LIRA_DATA)")
    for command in (mix, verify):
        command.add_argument("--sets", nargs="+", choices=list(SETS), metavar="SET", help=f"of {', '.join(SETS)}")
        command.add_argument("--allow-missing", action="store_true", help="leave sets out that are not there")
        command.add_argument("--json", type=Path, help="write all of it there")
    mix.add_argument("--seed", type=int, default=0, help="of the draw")
    mix.add_argument("--skip-bad", action="store_true", help="leave records out that are not of their format")
    mix.add_argument("--fill", action="store_true", help="repeat the records of sets that have too few")
    verify.add_argument(
        "--data", type=Path, help="folder that recipes read (LIRA_DATA): look at its referring and caption sets"
    )
    verify.add_argument("--images", action="store_true", help="look for all image files, not for those of 200 records")
    return parser.parse_args(arguments)


def watch(records: Iterable, title: str) -> Iterable:
    return tqdm(records, desc=title, unit=" records", disable=None)


def counted(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def table(lines: Sequence[MixedSet]) -> str:
    """Table 1 of the supplement, with a line for the total of each group."""
    rows = [("data set", "found", "wanted", "written", "licence", "where from")]
    for group, total in GROUP_TOTALS.items():
        members = [line for line in lines if line.group == group]
        rows += [
            (line.title, counted(line.found), counted(line.wanted), counted(line.written), line.licence, line.address)
            for line in members
        ]
        if members:
            found = sum(line.found or 0 for line in members)
            rows.append(
                (f"all of {group}", counted(found), counted(total), counted(sum(m.written for m in members)), "", "")
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(map(aligned, range(len(row)), row, widths)).rstrip() for row in rows)


def aligned(column: int, text: str, width: int) -> str:
    """Counts stand to the right of their columns."""
    return text.rjust(width) if column in (1, 2, 3) else text.ljust(width)


def run_mix(args: argparse.Namespace) -> int:
    options = MixOptions(args.seed, args.allow_missing, args.skip_bad, args.fill)
    try:
        lines = write_mix(args.root, args.out, args.sets, options, watch)
    except SetsMissing as error:
        if args.json:
            write_json(args.json, [asdict(line) for line in error.sets], indent=1)
        raise
    print(table(lines))
    for line in lines:
        notes = [*(f"there is no {path}" for path in line.missing), *line.remarks]
        if line.wanted and line.found is not None and line.written < line.wanted:
            notes.append("it has fewer records than Table 1 says; --fill repeats them")
        for note in notes:
            print(f"{line.title}: {note}")
    if any(line.group == "VQA" for line in lines):
        print(f"wrote {args.out / QUESTIONS}; set LIRA_DATA={args.out} for the recipes")
    if args.json:
        write_json(args.json, [asdict(line) for line in lines], indent=1)
    return 0


def run_verify(args: argparse.Namespace) -> int:
    results = []
    for known in [*QUESTION_SETS, *(REGION_SETS if args.data else ())]:
        if args.sets and known.name not in args.sets:
            continue
        if known in QUESTION_SETS:
            results.append(verify_set(known, args.root, None if args.images else 200, watch))
        else:
            results.append(verify_region_set(known, args.data))
        print(report(results[-1]))
    agreed, of_folders = verify_coco_images(args.root)
    for text in [*(f"the same: {text}" for text in agreed), *(difference.message for difference in of_folders)]:
        print(text)
    if args.json:
        folders = {"agreed": agreed, "differences": [asdict(difference) for difference in of_folders]}
        write_json(args.json, {"sets": [asdict(result) for result in results], "folders": folders}, indent=1)
    differences = [*of_folders, *(difference for result in results for difference in result.differences)]
    return int(any(not (args.allow_missing and difference.kind == MISSING) for difference in differences))


def run_look(args: argparse.Namespace) -> int:
    found = look(args.path)
    splits = f"; split {found.split!r} of {', '.join(found.splits)}" if found.split else ""
    per = f"; protocol: per {found.protocol['per']}" if "per" in found.protocol else ""
    print(f"{args.path}: {found.kind} ({KINDS[found.kind]})")
    print(f"{found.records:,} records of {found.images:,} images{splits}{per}")
    for problem in found.problems:
        print(f"  problem: {problem}")
    print("masks and images were not decoded; check_data.py does that with a recipe")
    if found.recipe:
        print("a recipe of yours tests it and trains on it with")
    for line in found.recipe:
        print(f"    {line}")
    for other in found.others:
        print(f"the folder also holds {other}")
    if args.json:
        write_json(args.json, {**asdict(found), "recipe": found.recipe}, indent=1)
    return int(not found.records)


def report(result: VerifiedSet) -> str:
    """A line of counts, and the first of what is wrong, kind by kind."""
    lines = [f"{result.title}: {counted(result.records)} training records; {result.images_checked:,} images looked for"]
    lines += [f"  the same: {text}" for text in result.agreed] + [f"  {remark}" for remark in result.remarks]
    for kind in dict.fromkeys(difference.kind for difference in result.differences):
        messages = [difference.message for difference in result.differences if difference.kind == kind]
        lines += [f"  {kind}: {message}" for message in messages[:_SHOWN]]
        if len(messages) > _SHOWN:
            lines.append(f"  {kind}: and {len(messages) - _SHOWN:,} more")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse_args(arguments)
    if args.command != "look" and not args.root.is_dir():
        raise FileNotFoundError(f"there is no folder {args.root}; docs/data.md says what it holds")
    if args.json:  # now, for the work would be lost where it cannot be written
        args.json.parent.mkdir(parents=True, exist_ok=True)
    return {"mix": run_mix, "verify": run_verify, "look": run_look}[args.command](args)


if __name__ == "__main__":
    run_command(main)
