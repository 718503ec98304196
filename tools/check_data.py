"""The doctor: name everything that is wrong with the data of a recipe in one run, and write a clean copy.

    python tools/check_data.py configs/lira/lira_2b.py --workers 16
    python tools/check_data.py configs/lira/lira_2b.py --every 100 --json check.json
    python tools/check_data.py configs/lira/lira_2b.py --no-images --fix clean/
    python tools/check_data.py configs/lira/lira_2b.py --loader train_dataloader test_dataloader --questions mine.jsonl

Annotation files are scanned, images and masks are decoded, and every record is made a sample as its training would: all of its
sentences, turns and masks. A fault ends nothing. The model is built without weights, for its numbers. Images of the training are
compared with those of val and test, whether these are checked or not.

The exit code is 0 if nothing is wrong, 1 if something is, and 2 for a wrong use. With --fix it is about the clean copy.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from lira_plugin.command_end import run_command
from lira_plugin.datasets.check import SourceCheck, check_questions
from lira_plugin.datasets.doctor import DoctorPart, Reading, examine
from lira_plugin.datasets.findings import CUT, UNUSABLE, Finding, group_line, grouped
from lira_plugin.describe import input_spec_of_recipe
from lira_plugin.prepare.clean_copy import LEFT_OUT_FILE, SETTINGS_FILE, CleanCopy
from lira_plugin.recipes import read_recipe
from lira_plugin.registry import SCOPE
from lira_plugin.structures import FaultKind
from lira_plugin.written_aside import write_json

_SHOWN = 5
_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
_MOST_ROUNDS = 6
"""Times a copy is written: what one fault has hidden is found in the copy without it."""

Examined = list[tuple[DoctorPart, SourceCheck]]


def parse_args() -> argparse.Namespace:
    kinds = "\n".join(f"  {kind:22} {kind.description}" for kind in FaultKind)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=f"kinds of findings:\n{kinds}"
    )
    parser.add_argument("config", type=Path, help="recipe")
    parser.add_argument("--loader", nargs="+", default=["train_dataloader"], choices=_LOADERS, help="whose data")
    parser.add_argument("--source", nargs="+", default=[], help="check these data sets alone, such as own/train")
    parser.add_argument("--questions", nargs="+", type=Path, default=[], help="files of questions to check as well")
    parser.add_argument("--workers", type=int, default=0, help="processes that read")
    parser.add_argument("--draws", type=int, default=1, help="times a record is read: its views are drawn")
    parser.add_argument("--every", type=int, default=1, help="read one record and image of so many")
    parser.add_argument(
        "--no-images",
        action="store_true",
        help="do not decode images: only whether they are there, their size and EXIF",
    )
    parser.add_argument("--json", type=Path, help="write counts and all findings there")
    parser.add_argument(
        "--fix", type=Path, metavar="OUT", help="write a clean copy of the annotation files to this folder"
    )
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, default={}, help="settings to replace, as key=value"
    )
    args = parser.parse_args()
    if args.workers < 0 or args.draws < 1 or args.every < 1:
        parser.error("--draws and --every must be positive, and --workers not negative")
    if args.fix and args.every > 1:
        parser.error("--fix needs every record to be read; leave --every out")
    return args


def report(check: SourceCheck) -> str:
    """A line of counts, and a line for each of the first groups of findings of every kind."""
    samples = max(1, check.samples)
    lines = [
        f"{check.source}: {check.samples} samples of {check.records} records, {len(check.faults)} faults, of which "
        f"{len(check.of_effect(UNUSABLE))} would end the training; "
        f"positions {check.positions / samples:.0f} on average, {check.max_positions} at most; "
        f"text {check.text / samples:.0f}, {check.max_text} at most; "
        f"views {check.views / samples:.2f}; masks {check.masks / samples:.2f}; "
        f"{len(check.of_effect(CUT))} times something is cut or not learnt"
    ]
    for kind in dict.fromkeys(finding.kind for finding in check.findings):
        groups = grouped(finding for finding in check.findings if finding.kind is kind)
        lines += [f"  {kind} ({group[0].effect}): {group_line(group)}" for group in groups[:_SHOWN]]
        if len(groups) > _SHOWN:
            lines.append(f"  {kind}: ... and {len(groups) - _SHOWN} more; --json writes all")
    return "\n".join(lines)


def examined_of(config: Config, loaders: Sequence[str], spec: Any, reading: Reading) -> Examined:
    """What is found in the data of some loaders; the images of the others are compared with those of the training."""
    given = {f"{name}.dataset": config[name]["dataset"] for name in loaders}
    others = {
        f"{name}.dataset": config[name]["dataset"] for name in _LOADERS if name not in loaders and config.get(name)
    }
    return examine(given, spec, reading, others if "train_dataloader" in loaders else {})


def as_json(checks: Sequence[SourceCheck]) -> dict[str, Any]:
    """All findings with their counts, notes on what rules leave out, and the counts of each source."""

    def entries(findings: Sequence[Finding]) -> list[dict[str, Any]]:
        return [asdict(finding) for finding in findings]

    faults = [finding for check in checks for finding in check.faults]
    notes = [finding for check in checks for finding in check.findings if finding.kind is FaultKind.BY_RULE]
    sources = [
        {key: value for key, value in vars(check).items() if key != "findings"} | {"faults": len(check.faults)}
        for check in checks
    ]
    counts = dict(Counter(str(finding.kind) for finding in faults).most_common())
    return {"findings": entries(faults), "counts": counts, "notes": entries(notes), "sources": sources}


def fix(
    copy: CleanCopy, config: Config, args: argparse.Namespace, spec: Any, found: Examined, reading: Reading
) -> bool:
    """Write the copy, and write it anew without what is found in it, until it is clean; whether it is."""
    reading = replace(reading, decode=False)  # the images are those that were looked at
    for _ in range(_MOST_ROUNDS):
        count = copy.write(found)
        config.merge_from_dict(copy.settings)
        if not count:
            break
        found = examined_of(config, args.loader, spec, reading)
        if not any(check.faults for _, check in found):
            break
    rest = [finding for _, check in found for finding in check.faults]
    print(f"{args.fix}: a clean copy, without {len(copy.left_out)} things; {LEFT_OUT_FILE} lists them. Read it with")
    print("    --cfg-options " + " ".join(f"{key}='{value}'" for key, value in copy.settings.items()))
    print(f"which {SETTINGS_FILE} holds as well.")
    for finding in rest:
        print(f"  not mended: {finding.kind}: {finding.message}")
    return not rest


def main() -> int:
    args = parse_args()
    if args.json:  # now, for what may take hours is lost where it cannot be written
        args.json.parent.mkdir(parents=True, exist_ok=True)
    copy = CleanCopy(args.fix) if args.fix else None
    config = read_recipe(args.config)
    config.merge_from_dict(args.cfg_options)
    missing = [loader for loader in args.loader if not config.get(loader)]
    if missing:
        raise ValueError(f"{args.config} has no {missing[0]}")
    init_default_scope(config.get("default_scope", SCOPE))
    spec = input_spec_of_recipe(config["model"])
    reading = Reading(args.workers, args.draws, args.every, not args.no_images, sources=tuple(args.source))
    found = examined_of(config, args.loader, spec, reading)
    checks = [check for _, check in found] + [check_questions(path) for path in args.questions]
    for check in checks:
        print(report(check))
    if args.json:
        write_json(args.json, as_json(checks), indent=1)
    questions = any(check.faults for check in checks[len(found) :])
    if copy is not None:
        return int(not fix(copy, config, args, spec, found, reading) or questions)
    return int(any(check.faults for check in checks))


if __name__ == "__main__":
    run_command(main)
