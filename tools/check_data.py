"""Read the data of a recipe as its training would, and say how long sequences are and which records cannot be used.

    python tools/check_data.py configs/lira/lira_2b.py --workers 16
    python tools/check_data.py configs/lira/lira_2b.py --every 100 --json check.json
    python tools/check_data.py configs/lira/lira_2b.py --loader train_dataloader test_dataloader --questions mine.jsonl

Every record is read whole: all of its sentences, turns and masks, whatever a training would draw of them. A fault ends nothing.
The model is built without weights, for its numbers. The exit code is 1 if a record cannot be used.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from mmengine.config import DictAction
from mmengine.registry import init_default_scope

from lira_plugin.datasets import fit_to_model
from lira_plugin.datasets.check import SourceCheck, build_to_check, check_dataset, check_questions
from lira_plugin.datasets.findings import CUT, UNUSABLE, group_line, grouped
from lira_plugin.describe import input_spec_of_recipe
from lira_plugin.recipes import read_recipe
from lira_plugin.registry import SCOPE
from lira_plugin.written_aside import write_json

_SHOWN = 5


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="recipe")
    parser.add_argument(
        "--loader",
        nargs="+",
        default=["train_dataloader"],
        help="whose data: train_dataloader, val_dataloader, test_dataloader",
    )
    parser.add_argument("--questions", nargs="+", type=Path, default=[], help="files of questions to check as well")
    parser.add_argument("--workers", type=int, default=0, help="processes that read")
    parser.add_argument("--draws", type=int, default=1, help="times a record is read: its views are drawn")
    parser.add_argument("--every", type=int, default=1, help="read one record of so many")
    parser.add_argument("--json", type=Path, help="write counts and all messages there")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, default={}, help="settings to replace, as key=value"
    )
    return parser.parse_args()


def report(check: SourceCheck) -> str:
    """A line of counts, and a line for each of the first groups of findings of every kind."""
    samples = max(1, check.samples)
    lines = [
        f"{check.source}: {check.samples} samples of {check.records} records, {len(check.of_kind(UNUSABLE))} faults; "
        f"positions {check.positions / samples:.0f} on average, {check.max_positions} at most; "
        f"text {check.text / samples:.0f}, {check.max_text} at most; "
        f"views {check.views / samples:.2f}; masks {check.masks / samples:.2f}; "
        f"regions left out of {len(check.of_kind(CUT))} samples"
    ]
    for kind in dict.fromkeys(finding.kind for finding in check.findings):
        groups = grouped(check.of_kind(kind))
        lines += [f"  {kind}: {group_line(group)}" for group in groups[:_SHOWN]]
        if len(groups) > _SHOWN:
            lines.append(f"  {kind}: ... and {len(groups) - _SHOWN} more; --json writes all")
    return "\n".join(lines)


def checks_of(args: argparse.Namespace) -> Iterator[SourceCheck]:
    """The checks of all loaders and files that were asked for."""
    config = read_recipe(args.config)
    config.merge_from_dict(args.cfg_options)
    init_default_scope(config.get("default_scope", SCOPE))
    spec = input_spec_of_recipe(config["model"])
    for loader in args.loader:
        if not config.get(loader):
            raise SystemExit(f"{args.config} has no {loader}")
        dataset, failed = build_to_check(config[loader]["dataset"])
        yield from failed
        if dataset is not None:
            fit_to_model(dataset, spec, f"{loader}.dataset")
            yield from check_dataset(dataset, args.workers, args.draws, args.every)
    yield from map(check_questions, args.questions)


def main() -> int:
    args = parse_args()
    if args.json:  # now, for what may take hours is lost where it cannot be written
        args.json.parent.mkdir(parents=True, exist_ok=True)
    checks = []
    for check in checks_of(args):
        checks.append(check)
        print(report(check))
    if args.json:
        write_json(args.json, [asdict(check) for check in checks], indent=1)
    return int(any(check.of_kind(UNUSABLE) for check in checks))


if __name__ == "__main__":
    raise SystemExit(main())
