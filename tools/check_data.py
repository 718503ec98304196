"""Read the data of a recipe as its training would, and say how long sequences are and which records cannot be used.

    python tools/check_data.py configs/lira/lira_2b.py --workers 16
    python tools/check_data.py configs/lira/lira_2b.py --every 100 --json check.json

The model is built without weights, for its numbers. The exit code is 1 if a record cannot be used.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope

from lira_plugin.datasets import fit_to_model
from lira_plugin.datasets.check import SourceCheck, check_dataset
from lira_plugin.describe import input_spec_of_recipe
from lira_plugin.registry import DATASETS, SCOPE
from lira_plugin.written_aside import write_json

_SHOWN = 5


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="recipe")
    parser.add_argument("--loader", default="train_dataloader", help="whose data: train_dataloader or test_dataloader")
    parser.add_argument("--workers", type=int, default=0, help="processes that read")
    parser.add_argument("--draws", type=int, default=1, help="times a record is read: its sentences are drawn")
    parser.add_argument("--every", type=int, default=1, help="read one record of so many")
    parser.add_argument("--json", type=Path, help="write counts and all messages there")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, default={}, help="settings to replace, as key=value"
    )
    return parser.parse_args()


def report(check: SourceCheck) -> str:
    """A line of counts, and the first messages of either kind."""
    samples = max(1, check.samples)
    lines = [
        f"{check.source}: {check.samples} samples of {check.records} records, {len(check.errors)} unusable; "
        f"positions {check.positions / samples:.0f} on average, {check.max_positions} at most; "
        f"text {check.text / samples:.0f}, {check.max_text} at most; "
        f"views {check.views / samples:.2f}; masks {check.masks / samples:.2f}; "
        f"regions or text lost {len(check.dropped)} times"
    ]
    for messages in (check.errors, check.dropped):
        lines += [f"  {message}" for message in messages[:_SHOWN]]
        if len(messages) > _SHOWN:
            lines.append(f"  ... and {len(messages) - _SHOWN} more")
    return "\n".join(lines)


def main() -> int:
    args = parse_args()
    if args.json:  # now, for what may take hours is lost where it cannot be written
        args.json.parent.mkdir(parents=True, exist_ok=True)
    config = Config.fromfile(args.config)
    config.merge_from_dict(args.cfg_options)
    if args.loader not in config:
        raise SystemExit(f"{args.config} has no {args.loader}")
    init_default_scope(config.get("default_scope", SCOPE))
    dataset = DATASETS.build(config[args.loader]["dataset"])
    fit_to_model(dataset, input_spec_of_recipe(config["model"]), f"{args.loader}.dataset")
    checks = []
    for check in check_dataset(dataset, args.workers, args.draws, args.every):
        checks.append(check)
        print(report(check))
    if args.json:
        write_json(args.json, [asdict(check) for check in checks], indent=1)
    return int(any(check.errors for check in checks))


if __name__ == "__main__":
    raise SystemExit(main())
